import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

const gzipped = promisify(gzip)

/** Smaller ones go as they are. */
export const COMPRESS_FROM_BYTES = 1_024

/** The body of a reply, ready to be sent, with all that depends on it alone. */
export class Answer {
  readonly body: Buffer
  /** Weak: the same for the compressed body. */
  readonly etag: string
  /** When the work that made it began, Unix ms: it knows of nothing that came later. */
  readonly beganAtMs: number
  #gzip: Promise<Buffer> | undefined

  constructor(body: Buffer, beganAtMs: number) {
    this.body = body
    this.beganAtMs = beganAtMs
    this.etag = `W/"${createHash('sha1').update(body).digest('base64url')}"`
  }

  /** Compressed once, however often it is sent. */
  gzip(): Promise<Buffer> {
    this.#gzip ??= gzipped(this.body, { level: 5 })
    return this.#gzip
  }
}
