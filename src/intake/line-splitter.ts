/** A line without its line feed. */
export interface Line {
  /** Byte position of its beginning. */
  readonly offset: number
  /** Its bytes, or only the beginning when it is longer than allowed. A copy, owned by the receiver. */
  readonly value: Buffer
  /** How many bytes it really has. */
  readonly length: number
}

/** What is kept of a line that is longer than allowed. */
const KEPT_BYTES = 1024 * 1024

/**
 * Cuts a stream of bytes into lines at `\n`, in bounded memory: a line above `lineBytesMax` is read to its end, but only its
 * first 1 MiB is kept, with its true length. Nothing else about the bytes is touched, a `\r` before the line feed included.
 */
export class LineSplitter {
  readonly #lineBytesMax: number
  #next: number
  #parts: Buffer[] = []
  #kept = 0
  #length = 0

  /** `position` is the byte position of the first byte that will be pushed. */
  constructor(position: number, lineBytesMax: number) {
    this.#next = position
    this.#lineBytesMax = lineBytesMax
  }

  /** Byte position after the last complete line. */
  get next(): number {
    return this.#next
  }

  /** The lines that end in this chunk. The chunk may be reused afterwards. */
  push(chunk: Buffer): Line[] {
    const lines: Line[] = []
    let at = 0
    while (at < chunk.length) {
      const end = chunk.indexOf(0x0a, at)
      if (end < 0) {
        this.#keep(chunk.subarray(at))
        break
      }
      this.#keep(chunk.subarray(at, end))
      lines.push(this.#take(1))
      at = end + 1
    }
    return lines
  }

  /** What stands after the last line feed, as a line; for the end of a file that does not end with one. */
  end(): Line | undefined {
    return this.#length === 0 ? undefined : this.#take(0)
  }

  /** Forgets what stands after the last line feed: it will be pushed again from `next` on. */
  forgetTail(): void {
    this.#parts = []
    this.#kept = 0
    this.#length = 0
  }

  #keep(bytes: Buffer): void {
    this.#length += bytes.length
    if (this.#length <= this.#lineBytesMax) {
      this.#parts.push(Buffer.from(bytes))
      this.#kept += bytes.length
      return
    }
    const bound = Math.min(KEPT_BYTES, this.#lineBytesMax)
    if (this.#kept > bound) {
      this.#parts = [Buffer.concat(this.#parts).subarray(0, bound)]
      // Copied, so that the rest of what was gathered can go.
      this.#parts[0] = Buffer.from(this.#parts[0]!)
      this.#kept = bound
    } else if (this.#kept < bound) {
      const more = Buffer.from(bytes.subarray(0, bound - this.#kept))
      this.#parts.push(more)
      this.#kept += more.length
    }
  }

  #take(lineFeedBytes: number): Line {
    const value = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#kept)
    const line = { offset: this.#next, value, length: this.#length }
    this.#next += this.#length + lineFeedBytes
    this.forgetTail()
    return line
  }
}
