/** What a program that runs the daemon may import from `millrace`. A platform of one's own imports from `millrace/platforms`. */
export { loadConfig } from './config/load.ts'
export type { Config, ConfigInput } from './config/schema.ts'
export { type Daemon, type DaemonOptions, startDaemon } from './daemon.ts'
export { MillraceError } from './job/errors.ts'
export type { JobMessage } from './job/job.ts'
export type { ResultMessage } from './job/outcome.ts'
export { REASONS, type Reason } from './job/reason.ts'
export { createLog } from './telemetry/log.ts'
