import type { Readable } from 'node:stream'
import type { WriteStream } from 'node:tty'
import type { Environment } from '../config/load.ts'

/** The world outside, as main hands it to a command: nothing below main touches `process` for these. */
export interface Terminal {
  readonly env: Environment
  readonly stdin: Readable & { isTTY?: boolean }
  readonly stdout: WriteStream
  readonly stderr: WriteStream
  /** Aborted when the user or the supervisor wants us to stop. */
  readonly stopping: AbortSignal
}
