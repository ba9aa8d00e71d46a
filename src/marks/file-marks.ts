import { type FileHandle, mkdir, open, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../job/errors.ts'
import { type Marks, type Scraped, scrapeMarkOf } from '../job/mark.ts'
import { sleep } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'

export interface FileMarksOptions {
  /** A folder of its own; made when it is not there. One daemon per folder. */
  readonly folder: string
  /** How long it is known that a job has ended, ms. */
  readonly endedKeptMs: number
  /** Unix ms. Default Date.now. */
  readonly now?: () => number
}

/** A mark as it stands in a file, one a line. */
interface Line {
  readonly mark: string
  /** Unix ms. */
  readonly expiresAtMs: number
  readonly text: string
}

interface Kept {
  readonly expiresAtMs: number
  readonly file: string
  /** Where the line stands. */
  readonly at: number
  readonly bytes: number
}

const CHUNK_BYTES = 64 * 1024
const RETRY_MS = { first: 50, most: 1_000 }

/**
 * Marks in a folder, for a daemon without Redis: they outlive its process, however that ends. Memory holds where each mark
 * stands, the files hold the texts. A file takes marks that are kept equally long, for a quarter of that time, and is removed when
 * the last of them has expired: about five for each length.
 *
 * While a mark cannot be written, on a full disk say, whoever brings it waits: their job has not ended yet.
 *
 * Not flushed to the disk: a machine that loses power forgets the last marks, which costs repetitions.
 */
export class FileMarks implements Marks {
  readonly #options: FileMarksOptions
  readonly #now: () => number
  readonly #kept = new Map<string, Kept>()
  readonly #files = new Map<string, { readonly handle: FileHandle; size: number; lastExpiresAtMs: number }>()
  /** One thing after the other: a line has to know where it stands, and a file may be removed. */
  #turn: Promise<unknown> = Promise.resolve()
  readonly #log: Log
  #failing = false

  constructor(options: FileMarksOptions, log: Log) {
    this.#options = options
    this.#log = log
    this.#now = options.now ?? Date.now
  }

  async start(): Promise<void> {
    const { folder } = this.#options
    await mkdir(folder, { recursive: true })
    for (const name of (await readdir(folder)).sort()) if (name.endsWith('.ndjson')) await this.#load(name)
    await this.#removeExpired()
  }

  async stop(): Promise<void> {
    await this.#turn
    for (const { handle } of this.#files.values()) await handle.close()
    this.#files.clear()
  }

  async ended(name: string, signal: AbortSignal): Promise<Buffer | null> {
    const text = await this.#insist(() => this.#read(endedMark(name)), signal)
    return text === null ? null : Buffer.from(text)
  }

  async end(name: string, result: Buffer, signal: AbortSignal): Promise<Buffer> {
    return await this.#insist(async () => {
      const standing = await this.#read(endedMark(name))
      if (standing !== null) return Buffer.from(standing)
      await this.#append(endedMark(name), this.#options.endedKeptMs, result.toString())
      return result
    }, signal)
  }

  async scrapedBy(scraped: Scraped, signal: AbortSignal): Promise<string | null> {
    return await this.#insist(() => this.#read(`scraped ${scrapeMarkOf(scraped)}`), signal)
  }

  async scraped(scraped: Scraped, name: string, keepMs: number, signal: AbortSignal): Promise<void> {
    await this.#insist(() => this.#append(`scraped ${scrapeMarkOf(scraped)}`, keepMs, name), signal)
  }

  /** Does it in its turn, until it succeeds. Rejects only when `signal` is aborted. */
  async #insist<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let pauseMs = RETRY_MS.first; ; pauseMs = Math.min(pauseMs * 2, RETRY_MS.most)) {
      signal.throwIfAborted()
      try {
        return await this.#inTurn(work)
      } catch (error) {
        const { folder } = this.#options
        if (!this.#failing)
          this.#log.error({ folder, reason: messageOf(error, 200) }, 'marks cannot be kept: jobs wait')
        this.#failing = true
        await sleep(pauseMs, signal)
      }
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }

  async #read(mark: string): Promise<string | null> {
    const kept = this.#kept.get(mark)
    const file = kept === undefined ? undefined : this.#files.get(kept.file)
    if (kept === undefined || file === undefined || kept.expiresAtMs <= this.#now()) return null
    const { buffer } = await file.handle.read(Buffer.alloc(kept.bytes), 0, kept.bytes, kept.at)
    return readLine(buffer)?.text ?? null
  }

  async #append(mark: string, keepMs: number, text: string): Promise<void> {
    const expiresAtMs = this.#now() + keepMs
    const line = Buffer.from(`${JSON.stringify({ mark, expiresAtMs, text } satisfies Line)}\n`)
    const name = await this.#fileFor(keepMs)
    const file = this.#files.get(name)!
    const { bytesWritten } = await file.handle.write(line, 0, line.length, file.size)
    // A disk that has just become full; the next line is written over what it took.
    if (bytesWritten < line.length) throw new Error(`${bytesWritten} of ${line.length} bytes were written`)
    if (this.#failing) this.#log.info('marks are kept again')
    this.#failing = false
    this.#kept.set(mark, { expiresAtMs, file: name, at: file.size, bytes: line.length })
    file.size += line.length
    file.lastExpiresAtMs = Math.max(file.lastExpiresAtMs, expiresAtMs)
  }

  /** The file for marks of this moment that are kept so long. */
  async #fileFor(keepMs: number): Promise<string> {
    const spanMs = Math.max(1_000, keepMs / 4)
    const name = `${String(Math.floor(this.#now() / spanMs)).padStart(12, '0')}-${keepMs}.ndjson`
    if (!this.#files.has(name)) {
      await this.#removeExpired()
      const handle = await open(join(this.#options.folder, name), 'w+')
      this.#files.set(name, { handle, size: 0, lastExpiresAtMs: 0 })
    }
    return name
  }

  /** Takes a file of an earlier process on. What stands behind its last line feed was torn by the end of that process. */
  async #load(name: string): Promise<void> {
    const handle = await open(join(this.#options.folder, name), 'r+')
    const file = { handle, size: 0, lastExpiresAtMs: 0 }
    this.#files.set(name, file)
    const chunk = Buffer.alloc(CHUNK_BYTES)
    let rest: Buffer = Buffer.alloc(0)
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, file.size + rest.length)
      if (bytesRead === 0) return
      rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)])
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const line = readLine(rest.subarray(0, end))
        const bytes = end + 1
        if (line !== null) {
          this.#kept.set(line.mark, { expiresAtMs: line.expiresAtMs, file: name, at: file.size, bytes })
          file.lastExpiresAtMs = Math.max(file.lastExpiresAtMs, line.expiresAtMs)
        }
        file.size += bytes
        rest = rest.subarray(bytes)
      }
    }
  }

  async #removeExpired(): Promise<void> {
    const nowMs = this.#now()
    for (const [name, { handle, lastExpiresAtMs }] of this.#files) {
      if (lastExpiresAtMs > nowMs) continue
      this.#files.delete(name)
      await handle.close()
      await unlink(join(this.#options.folder, name))
    }
    for (const [mark, { expiresAtMs }] of this.#kept) if (expiresAtMs <= nowMs) this.#kept.delete(mark)
  }
}

function endedMark(name: string): string {
  return `ended ${name}`
}

function readLine(line: Buffer): Line | null {
  try {
    return JSON.parse(line.toString()) as Line
  } catch {
    return null
  }
}
