import { isUtf8 } from 'node:buffer'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { MillraceError, messageOf } from '../job/errors.ts'
import type { OutRecord, Publisher } from '../job/record.ts'
import type { Log } from '../telemetry/log.ts'
import { Outbox, type Sent } from './outbox.ts'
import { encodeStoredLine } from './stored-line.ts'

export interface FilePublisherOptions {
  /** Made when it is not there. */
  readonly folder: string
  /** Topics whose lines are the values themselves (results), for people and for jq. A value that is no single line of JSON is still stored whole. */
  readonly plainTopics: readonly string[]
  /** Unix ms. Default Date.now. */
  readonly now?: () => number
}

const BATCH_RECORDS_MAX = 5_000
const BATCH_BYTES_MAX = 8 * 1024 * 1024
const BUFFER_BYTES_MAX = 32 * 1024 * 1024

/**
 * Publishes to `<folder>/<topic>.ndjson`, one line a record, appended and flushed to the disk per batch. A line that a crash
 * tore was never acknowledged, so it is cut off before the file is written again. One daemon per folder; others may append
 * whole lines.
 */
export class FilePublisher implements Publisher {
  readonly #folder: string
  readonly #plainTopics: ReadonlySet<string>
  readonly #now: () => number
  readonly #log: Log
  readonly #outboxes = new Map<string, Outbox>()
  readonly #files = new Map<string, FileHandle>()
  #stopped: Promise<void> | undefined

  constructor(options: FilePublisherOptions, log: Log) {
    this.#folder = options.folder
    this.#plainTopics = new Set(options.plainTopics)
    this.#now = options.now ?? Date.now
    this.#log = log
  }

  /** Rejects with a MillraceError when the folder cannot be made. */
  async start(): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true })
    } catch (error) {
      throw new MillraceError('FOLDER', `Cannot make the folder ${this.#folder}: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  get healthy(): boolean {
    return [...this.#outboxes.values()].every((outbox) => outbox.away === undefined || outbox.isEmpty)
  }

  async publish(topic: string, records: readonly OutRecord[], signal: AbortSignal): Promise<void> {
    if (this.#stopped !== undefined) throw new MillraceError('PUBLISHER_STOPPED', 'the publisher is stopped')
    await this.#outbox(topic).publish(records, signal)
  }

  async stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    await this.#stopped
  }

  async #stop(): Promise<void> {
    const giveUp = AbortSignal.timeout(5_000)
    await Promise.all([...this.#outboxes.values()].map((outbox) => outbox.flush(giveUp)))
    await Promise.all([...this.#files.values()].map((file) => file.close()))
    this.#files.clear()
  }

  #outbox(topic: string): Outbox {
    let outbox = this.#outboxes.get(topic)
    if (outbox === undefined) {
      if (!/^[A-Za-z0-9._-]{1,249}$/.test(topic) || topic === '.' || topic === '..') {
        throw new MillraceError(
          'TOPIC_NAME',
          `"${topic}" is no topic name: expected letters, digits, ".", "_" and "-"`,
        )
      }
      const options = {
        lingerMs: 0,
        batchRecordsMax: BATCH_RECORDS_MAX,
        batchBytesMax: BATCH_BYTES_MAX,
        bufferBytesMax: BUFFER_BYTES_MAX,
      }
      outbox = new Outbox(topic, options, (name, records) => this.#write(name, records), this.#log)
      this.#outboxes.set(topic, outbox)
    }
    return outbox
  }

  async #write(topic: string, records: readonly OutRecord[]): Promise<Sent> {
    const nowMs = this.#now()
    const isPlain = this.#plainTopics.has(topic)
    const lines = Buffer.from(records.map((record) => toLine(record, isPlain, nowMs)).join(''), 'utf8')
    let file: FileHandle | undefined
    let before: number | undefined
    try {
      file = await this.#file(topic)
      before = (await file.stat()).size
      await file.appendFile(lines)
      await file.datasync()
      return 'ok'
    } catch (error) {
      // Half a batch may stand there. Opening the file anew repairs whatever this cannot.
      if (before !== undefined) await file?.truncate(before).catch(() => undefined)
      this.#files.delete(topic)
      await file?.close().catch(() => undefined)
      return { away: error instanceof Error ? error : new Error(String(error)) }
    }
  }

  async #file(topic: string): Promise<FileHandle> {
    const known = this.#files.get(topic)
    if (known !== undefined) return known
    const file = await open(join(this.#folder, `${topic}.ndjson`), 'a+')
    try {
      await mendTail(file)
    } catch (error) {
      await file.close()
      throw error
    }
    this.#files.set(topic, file)
    return file
  }
}

function toLine(record: OutRecord, isPlain: boolean, nowMs: number): string {
  if (isPlain && record.value !== null && isUtf8(record.value)) {
    const text = record.value.toString('utf8')
    if (text.startsWith('{') && !/[\r\n]/.test(text)) return `${text}\n`
  }
  return encodeStoredLine(record, nowMs)
}

/**
 * Makes a file end with a line feed. A last line without one that is JSON was written by somebody's editor and is completed;
 * anything else was torn by a crash before it was acknowledged, and is cut off.
 */
async function mendTail(file: FileHandle): Promise<void> {
  const { size } = await file.stat()
  const whole = await wholeLinesBytes(file, size)
  if (whole === size) return
  const tail = Buffer.alloc(size - whole)
  await file.read(tail, 0, tail.length, whole)
  if (isJson(tail)) await file.appendFile('\n')
  else await file.truncate(whole)
}

/** The length up to and with the last line feed. Reads backwards, so it costs one line, not the file. */
async function wholeLinesBytes(file: FileHandle, size: number): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024)
  let end = size
  while (end > 0) {
    const start = Math.max(0, end - chunk.length)
    const { bytesRead } = await file.read(chunk, 0, end - start, start)
    const at = chunk.subarray(0, bytesRead).lastIndexOf(0x0a)
    if (at >= 0) return start + at + 1
    end = start
  }
  return 0
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'))
    return true
  } catch {
    return false
  }
}
