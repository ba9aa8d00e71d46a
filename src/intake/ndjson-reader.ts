import type { FileHandle } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { HEADERS } from '../job/job.ts'
import type { SourceRecord } from '../job/record.ts'
import { decodeStoredLine } from '../publish/stored-line.ts'
import { type Line, LineSplitter } from './line-splitter.ts'
import type { Partition } from './source.ts'

const CHUNK_BYTES = 64 * 1024

export interface ReaderOptions {
  readonly partition: Partition
  /** Byte position to begin at. */
  readonly position: number
  /** Of records that bring no time of their own. */
  readonly timestampMs: number
  readonly lineBytesMax: number
  readonly pollEveryMs: number
  /** `stored` lines may be a publisher's, with key and headers, or plain; `plain` lines are always values. */
  readonly format: 'plain' | 'stored'
  readonly onRecords: (records: readonly SourceRecord[], next: number) => void
  /** Everything that is there has been read. */
  readonly onCaughtUp: () => void
}

/** Reads lines of one input as records, as long as it is not paused: then it does not read at all. */
export class NdjsonReader {
  readonly partition: Partition
  readonly #options: ReaderOptions
  readonly #splitter: LineSplitter
  readonly #stopped = new AbortController()
  #readAt: number
  /** Size of a growing file when its end was met; -1 before. */
  #sizeAtEnd = -1
  readonly #chunk = Buffer.alloc(CHUNK_BYTES)
  #paused: PromiseWithResolvers<void> | undefined
  #ended = false

  constructor(options: ReaderOptions) {
    this.partition = options.partition
    this.#options = options
    this.#splitter = new LineSplitter(options.position, options.lineBytesMax)
    this.#readAt = options.position
  }

  /** True when a finite input has been read to its end. */
  get ended(): boolean {
    return this.#ended
  }

  /** Byte position after the last line that was delivered. */
  get next(): number {
    return this.#splitter.next
  }

  pause(): void {
    this.#paused ??= Promise.withResolvers()
  }

  resume(): void {
    this.#paused?.resolve()
    this.#paused = undefined
  }

  stop(): void {
    this.#stopped.abort()
    this.resume()
  }

  /** Reads until the file's end. A last line without a line feed counts. */
  async readFinite(file: FileHandle): Promise<void> {
    while (await this.#mayRead()) {
      const bytes = await this.#readChunk(file)
      if (bytes === 'stopped') return
      if (bytes > 0) continue
      const last = this.#splitter.end()
      this.#ended = true
      this.#deliver(last === undefined ? [] : [last])
      this.#options.onCaughtUp()
      return
    }
  }

  /**
   * Reads on as the file grows, until stopped. `open` yields the file, or undefined while there is none. What stands after the
   * last line feed is being written, or torn: it is read again when the file has changed. Resolves with `cut` when the file
   * became shorter than what was delivered of it.
   */
  async readGrowing(open: () => Promise<FileHandle | undefined>): Promise<'stopped' | 'cut'> {
    let file: FileHandle | undefined
    while (await this.#mayRead()) {
      file ??= await open()
      const size = file === undefined ? 0 : (await file.stat()).size
      if (size < this.next) return 'cut'
      if (file !== undefined && size !== this.#sizeAtEnd) {
        const bytes = await this.#readChunk(file)
        if (bytes === 'stopped') return 'stopped'
        if (bytes > 0) continue
        this.#splitter.forgetTail()
        this.#readAt = this.next
        this.#sizeAtEnd = size
      }
      this.#options.onCaughtUp()
      await sleep(this.#options.pollEveryMs, undefined, { signal: this.#stopped.signal }).catch(
        () => undefined,
      )
    }
    return 'stopped'
  }

  /** Reads a stream to its end, taking a chunk only when there is room: what writes into it is held back. */
  async readStream(stream: Readable): Promise<void> {
    const close = () => stream.destroy()
    this.#stopped.signal.addEventListener('abort', close, { once: true })
    try {
      for await (const chunk of stream) {
        this.#deliver(this.#splitter.push(chunk as Buffer))
        if (!(await this.#mayRead())) return
      }
    } catch (error) {
      if (!this.#stopped.signal.aborted) throw error
      return
    }
    const last = this.#splitter.end()
    this.#ended = true
    this.#deliver(last === undefined ? [] : [last])
    this.#options.onCaughtUp()
  }

  /** True when a growing file of this size holds no line that was not delivered. */
  hasRead(size: number): boolean {
    return size === this.#sizeAtEnd || size <= this.next
  }

  /** Waits while paused; false when stopped. */
  async #mayRead(): Promise<boolean> {
    while (this.#paused !== undefined && !this.#stopped.signal.aborted) await this.#paused.promise
    return !this.#stopped.signal.aborted
  }

  async #readChunk(file: FileHandle): Promise<number | 'stopped'> {
    const { bytesRead } = await file.read(this.#chunk, 0, CHUNK_BYTES, this.#readAt)
    // Stopped while reading: nobody wants it any more.
    if (this.#stopped.signal.aborted) return 'stopped'
    this.#readAt += bytesRead
    if (bytesRead > 0) this.#deliver(this.#splitter.push(this.#chunk.subarray(0, bytesRead)))
    return bytesRead
  }

  #deliver(lines: readonly Line[]): void {
    const records = lines.filter(({ value }) => !isBlank(value)).map((line) => this.#toRecord(line))
    if (lines.length > 0) this.#options.onRecords(records, this.next)
  }

  #toRecord(line: Line): SourceRecord {
    const { topic, partition } = this.partition
    const place = { topic, partition, offset: line.offset }
    if (line.length > line.value.length) {
      const headers = { [HEADERS.cut]: Buffer.from(String(line.length)) }
      return { ...place, timestampMs: this.#options.timestampMs, key: null, value: line.value, headers }
    }
    const stored = this.#options.format === 'stored' ? decodeStoredLine(line.value) : undefined
    if (stored !== undefined) return { ...place, ...stored }
    return { ...place, timestampMs: this.#options.timestampMs, key: null, value: line.value, headers: {} }
  }
}

function isBlank(value: Buffer): boolean {
  return value.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)
}
