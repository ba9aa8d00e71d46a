import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { LineSplitter } from '../intake/line-splitter.ts'
import { openIfThere } from '../intake/open-file.ts'
import { HEADERS } from '../job/job.ts'
import type { SourceRecord } from '../job/record.ts'
import { decodeStoredLine } from '../publish/stored-line.ts'
import { type DeadLetters, spansOf, type Take } from './dead-letters.ts'
import type { LetterId } from './letter.ts'
import { Replayed } from './replayed.ts'

export interface FileLettersOptions {
  readonly folder: string
  /** Names without `.ndjson`. */
  readonly dead: string
  readonly replayed: string
}

const CHUNK_BYTES = 256 * 1024
/** A value of 16 MiB, what the intake takes at most, with every byte escaped (`\u0000`), and its headers. */
const LINE_BYTES_MAX = 100 * 1024 * 1024
/** The file is one partition. */
const PARTITION = 0

interface Opened {
  readonly file: FileHandle
  readonly size: number
  readonly mtimeMs: number
}

/**
 * Dead letters without Kafka: lines of `<folder>/<dead>.ndjson`, as publish/stored-line writes them; an offset is a byte
 * position. A last line without its line feed is being written, or torn, and does not count.
 */
export class FileLetters implements DeadLetters {
  readonly name: string
  readonly #options: FileLettersOptions
  readonly #opened: Opened | undefined

  private constructor(options: FileLettersOptions, opened: Opened | undefined) {
    this.#options = options
    this.#opened = opened
    this.name = pathOf(options.folder, options.dead)
  }

  static async open(options: FileLettersOptions): Promise<FileLetters> {
    return new FileLetters(options, await openWhole(pathOf(options.folder, options.dead)))
  }

  async each(take: Take, signal: AbortSignal): Promise<void> {
    if (this.#opened !== undefined) await readLines(this.#opened, this.#options.dead, 0, take, signal)
  }

  async pick(ids: readonly LetterId[], take: Take, signal: AbortSignal): Promise<void> {
    const span = spansOf(ids).get(PARTITION)
    const opened = this.#opened
    if (span === undefined || opened === undefined || span.from >= opened.size) return
    const isLine = await isLineStart(opened.file, span.from)
    await readLines(opened, this.#options.dead, span.from, take, signal, ({ offset }) => {
      if (offset > span.last) return 'end'
      // Begun in the middle of a line, its rest is no letter.
      return span.offsets.has(offset) && (isLine || offset > span.from) ? 'take' : 'skip'
    })
  }

  async replayed(signal: AbortSignal): Promise<Replayed> {
    const { folder, replayed } = this.#options
    const marks = new Replayed()
    const opened = await openWhole(pathOf(folder, replayed))
    if (opened === undefined) return marks
    try {
      await readLines(opened, replayed, 0, (record) => marks.add(record), signal)
    } finally {
      await opened.file.close()
    }
    return marks
  }

  async close(): Promise<void> {
    await this.#opened?.file.close()
  }
}

function pathOf(folder: string, name: string): string {
  return join(folder, `${name}.ndjson`)
}

async function openWhole(path: string): Promise<Opened | undefined> {
  const file = await openIfThere(path)
  if (file === undefined) return undefined
  const { size, mtimeMs } = await file.stat()
  return { file, size, mtimeMs: Math.round(mtimeMs) }
}

async function isLineStart(file: FileHandle, position: number): Promise<boolean> {
  if (position === 0) return true
  const before = Buffer.alloc(1)
  await file.read(before, 0, 1, position - 1)
  return before[0] === 0x0a
}

async function readLines(
  { file, size, mtimeMs }: Opened,
  topic: string,
  from: number,
  take: Take,
  signal: AbortSignal,
  choose: (line: { readonly offset: number }) => 'take' | 'skip' | 'end' = () => 'take',
): Promise<void> {
  const splitter = new LineSplitter(from, LINE_BYTES_MAX)
  const chunk = Buffer.alloc(CHUNK_BYTES)
  let at = from
  while (at < size) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK_BYTES, size - at), at)
    signal.throwIfAborted()
    // Cut while it was read.
    if (bytesRead === 0) return
    at += bytesRead
    for (const line of splitter.push(chunk.subarray(0, bytesRead))) {
      const choice = choose(line)
      if (choice === 'end') return
      if (choice === 'skip' || line.length === 0) continue
      const place = { topic, partition: PARTITION, offset: line.offset }
      const taken = take({ ...place, ...recordOf(line, mtimeMs) })
      if (taken !== undefined) await taken
      signal.throwIfAborted()
    }
  }
}

/** A line that is not a publisher's was appended by somebody: its value, and nothing is known about it. */
function recordOf(
  line: { readonly value: Buffer; readonly length: number },
  timestampMs: number,
): Omit<SourceRecord, 'topic' | 'partition' | 'offset'> {
  if (line.length > line.value.length) {
    const headers = { [HEADERS.cut]: Buffer.from(String(line.length)) }
    return { timestampMs, key: null, value: line.value, headers }
  }
  return decodeStoredLine(line.value) ?? { timestampMs, key: null, value: line.value, headers: {} }
}
