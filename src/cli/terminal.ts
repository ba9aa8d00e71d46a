import type { Readable } from 'node:stream'
import type { WriteStream } from 'node:tty'
import type { Environment } from '../config/load.ts'
import type { Secrets } from '../telemetry/secrets.ts'

/** The world outside, as main hands it to a command: nothing below main touches `process` for these. */
export interface Terminal {
  readonly env: Environment
  readonly stdin: Readable & { isTTY?: boolean }
  readonly stdout: WriteStream
  readonly stderr: WriteStream
  /** Aborted when the user or the supervisor wants us to stop. */
  readonly stopping: AbortSignal
  /** Not to be shown by anybody; the configuration's are added when it has been read. */
  readonly secrets: Secrets
}
