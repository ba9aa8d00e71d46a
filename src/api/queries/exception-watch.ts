import { Transform, type TransformCallback } from 'node:stream'

const MARK = '__exception__'
/** The engine's message, with its mark and tag at both ends. */
const TAIL_BYTES_MAX = 64 * 1024

/**
 * Passes bytes on and fails at the end when they end with the engine's account of an exception: by then the status of the reply
 * has long been sent, so that breaking off is the only way to say that the rows are not whole. The last bytes are held back
 * until it is clear what they are, so no text of the engine goes out.
 */
export class ExceptionWatch extends Transform {
  readonly #mark: string
  /** As they came: what passes is not copied. */
  readonly #held: Buffer[] = []
  #heldBytes = 0

  /** `tag`: what the engine has said its account will be marked with. */
  constructor(tag: string | undefined) {
    super()
    this.#mark = tag === undefined ? MARK : `${MARK}\r\n${tag}`
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    for (let [first] = this.#held; first !== undefined; [first] = this.#held) {
      if (this.#heldBytes - first.length < TAIL_BYTES_MAX) break
      this.#held.shift()
      this.#heldBytes -= first.length
      this.push(first)
    }
    done()
  }

  override _flush(done: TransformCallback): void {
    const tail = Buffer.concat(this.#held)
    if (tail.includes(this.#mark)) done(new Error('the query failed on its way'))
    else done(null, tail)
  }
}
