import type { Readable } from 'node:stream'

export interface NdjsonInput {
  /** What its records count as, normally the jobs topic. */
  readonly topic: string
  /** A file, or a stream such as standard input, which has no cursor: what was not finished is gone with the process. */
  readonly from: string | Readable
  /** Read on as the file grows; the run then never ends. Default false. */
  readonly follow?: boolean
}

export interface NdjsonSourceOptions {
  /** The jobs, one a line. */
  readonly input?: NdjsonInput
  /**
   * Files that this daemon writes itself by FilePublisher and reads again: retries, and the jobs topic for follow-ups. They
   * need not exist yet. Each is partition 0 of its topic.
   */
  readonly growing: readonly { readonly topic: string; readonly path: string }[]
  /** Where the cursors are kept; its folder is made. */
  readonly cursorPath: string
  /** Default 16 MiB. A longer line becomes a record of its first 1 MiB with the header `millrace-cut-bytes`. */
  readonly lineBytesMax?: number
  /** How often a growing file is looked at. Default 200. */
  readonly pollEveryMs?: number
}
