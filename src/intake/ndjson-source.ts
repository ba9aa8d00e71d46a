import { statSync } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { MillraceError, messageOf } from '../job/errors.ts'
import type { Log } from '../telemetry/log.ts'
import { advanced, CursorFile, continuation, freshEntry, partitionOf } from './cursor.ts'
import type { NdjsonInput, NdjsonSourceOptions } from './ndjson-options.ts'
import { NdjsonReader, type ReaderOptions } from './ndjson-reader.ts'
import { openIfThere, sizeOf } from './open-file.ts'
import { type Partition, type Position, partitionKey, type Source, type SourceHandlers } from './source.ts'

/** What a job with its key and headers takes in a file of ours, roughly. */
const STORED_LINE_BYTES = 600

interface Reading {
  readonly partition: Partition
  /** Key of the cursor; undefined for a stream. */
  readonly path: string | undefined
  readonly kind: 'finite' | 'growing'
  /** Of records that bring no time of their own. */
  readonly timestampMs: number
  file: FileHandle | undefined
  reader: NdjsonReader
  epoch: number
  committed: number
  /** What is finished beyond `committed`. */
  beyond: string
}

/**
 * Jobs from a file or a stream, one a line; a line that is no JSON is a record all the same. Offsets are byte positions, so
 * `tail -c +$((offset + 1)) file | head -1` shows the record that a dead letter speaks of.
 *
 * A commit writes the cursor file, so that a killed run goes on where it was. A finished input that is unchanged is begun
 * again at the next run; one that has grown goes on; one that was written anew is new (see cursor.ts).
 */
export class NdjsonSource implements Source {
  readonly #options: NdjsonSourceOptions
  readonly #log: Log
  readonly #cursor: CursorFile
  readonly #readings = new Map<string, Reading>()
  readonly #loops: Promise<void>[] = []
  #handlers: SourceHandlers | undefined
  #epoch = 0
  #stopped: Promise<void> | undefined

  constructor(options: NdjsonSourceOptions, log: Log) {
    this.#options = options
    this.#log = log
    this.#cursor = new CursorFile(options.cursorPath)
  }

  /** Rejects with a MillraceError of kind `usage` when the input cannot be read. */
  async start(handlers: SourceHandlers): Promise<void> {
    if (this.#handlers !== undefined) return
    this.#handlers = handlers
    await mkdir(dirname(this.#options.cursorPath), { recursive: true })
    await this.#cursor.load()
    const { input } = this.#options
    const prepared: (() => Promise<void>)[] = []
    if (input !== undefined) prepared.push(await this.#openInput(input))
    for (const { topic, path } of this.#options.growing)
      prepared.push(await this.#openGrowing(topic, resolve(path)))
    handlers.onRebalance('finished')
    for (const { partition, epoch, committed: offset, beyond: text } of this.#readings.values())
      handlers.onAssigned(partition, epoch, { offset, text })
    for (const loop of prepared) this.#loops.push(this.#guard(loop))
  }

  pause(partitions: readonly Partition[]): void {
    for (const partition of partitions) this.#readings.get(partitionKey(partition))?.reader.pause()
  }

  resume(partitions: readonly Partition[]): void {
    for (const partition of partitions) this.#readings.get(partitionKey(partition))?.reader.resume()
  }

  async commit(positions: readonly Position[]): Promise<readonly Position[]> {
    const owned = positions.filter(
      (position) => this.#readings.get(partitionKey(position))?.epoch === position.epoch,
    )
    if (owned.length === 0) return []
    for (const position of owned) {
      const reading = this.#readings.get(partitionKey(position))!
      reading.committed = Math.max(reading.committed, position.offset)
      reading.beyond = position.beyond
      await this.#note(reading)
    }
    await this.#cursor.save()
    return owned
  }

  /** How many lines are left is not known without reading them. */
  lag(): readonly never[] {
    return []
  }

  backlog(topic: string): number | undefined {
    const reading = [...this.#readings.values()].find(({ partition }) => partition.topic === topic)
    if (reading?.path === undefined) return undefined
    const size = statSync(reading.path, { throwIfNoEntry: false })?.size ?? 0
    return Math.ceil(Math.max(0, size - reading.committed) / STORED_LINE_BYTES)
  }

  async exhausted(except: readonly Partition[]): Promise<boolean> {
    const ignored = new Set(except.map(partitionKey))
    for (const [key, reading] of this.#readings) {
      if (ignored.has(key)) continue
      if (reading.kind === 'finite') {
        if (!reading.reader.ended) return false
        continue
      }
      if (this.#isFollowed(reading)) return false
      const size = reading.file === undefined ? await sizeOf(reading.path!) : (await reading.file.stat()).size
      if (!reading.reader.hasRead(size)) return false
    }
    return true
  }

  async stop(): Promise<void> {
    this.#stopped ??= this.#close()
    await this.#stopped
  }

  async #close(): Promise<void> {
    for (const { reader } of this.#readings.values()) reader.stop()
    await Promise.all(this.#loops)
    await this.#noteTheEnd()
    for (const reading of this.#readings.values()) {
      await reading.file?.close()
      this.#handlers?.onLost(reading.partition, reading.epoch)
    }
    this.#readings.clear()
  }

  /** Whether an input is done is known only when its end has been read, which may be after the last commit. */
  async #noteTheEnd(): Promise<void> {
    const ended = [...this.#readings.values()].filter(
      ({ path, reader }) => path !== undefined && reader.ended,
    )
    if (ended.length === 0) return
    try {
      for (const reading of ended) await this.#note(reading)
      await this.#cursor.save()
    } catch (error) {
      this.#log.warn({ reason: messageOf(error, 200) }, 'the cursor file could not be written')
    }
  }

  async #openInput(input: NdjsonInput): Promise<() => Promise<void>> {
    if (typeof input.from !== 'string') {
      const stream = input.from
      const nowMs = Date.now()
      const partition = { topic: input.topic, partition: partitionOf(`stream ${process.pid} ${nowMs}`) }
      const reading = this.#add(partition, undefined, 'finite', 0, nowMs, 'plain')
      return async () => await reading.reader.readStream(stream)
    }
    const path = resolve(input.from)
    let file: FileHandle
    try {
      file = await open(path, 'r')
    } catch (error) {
      throw new MillraceError('INPUT', `Cannot read the jobs from ${path}: ${messageOf(error, 200)}`, {
        kind: 'usage',
        cause: error,
      })
    }
    const kind = input.follow === true ? 'growing' : 'finite'
    const entry = await this.#place(file, path, { topic: input.topic, partition: undefined }, kind)
    const reading = this.#add(entry, path, kind, entry.position, entry.timestampMs, 'plain')
    reading.beyond = entry.beyond ?? ''
    reading.file = file
    return async () =>
      await (kind === 'finite' ? reading.reader.readFinite(file) : this.#readGrowing(reading))
  }

  async #openGrowing(topic: string, path: string): Promise<() => Promise<void>> {
    const file = await openIfThere(path)
    const partition = { topic, partition: 0 }
    if (file === undefined) this.#cursor.delete(path)
    const entry = file === undefined ? undefined : await this.#place(file, path, partition, 'growing')
    const reading = this.#add(
      partition,
      path,
      'growing',
      entry?.position ?? 0,
      // The same in every run: jobs that bring no time of their own have to stay the same jobs.
      entry?.timestampMs ?? Date.now(),
      'stored',
    )
    reading.beyond = entry?.beyond ?? ''
    reading.file = file
    return async () => await this.#readGrowing(reading)
  }

  /** Where to begin, by the cursor; a file that is begun afresh gets its entry at once, so that its times stay. */
  async #place(
    file: FileHandle,
    path: string,
    place: { topic: string; partition: number | undefined },
    kind: Reading['kind'],
  ) {
    const known = this.#cursor.get(path)
    const how = await continuation(file, known, kind)
    if (known !== undefined && how === 'goes on') {
      if (known.position > 0) this.#log.info({ path, position: known.position }, 'going on at the cursor')
      const { size, mtimeMs } = await file.stat()
      this.#cursor.set(path, { ...known, size, mtimeMs, isDone: false })
      return known
    }
    if (how === 'was done') this.#log.info({ path }, 'this input was done before; doing it again')
    else if (known !== undefined)
      this.#log.info({ path }, 'not the file that the cursor knows; beginning at its start')
    const entry = await freshEntry(file, { ...place, path })
    this.#cursor.set(path, entry)
    await this.#cursor.save()
    return entry
  }

  #add(
    { topic, partition }: Partition,
    path: string | undefined,
    kind: Reading['kind'],
    position: number,
    timestampMs: number,
    format: ReaderOptions['format'],
  ): Reading {
    this.#epoch += 1
    const named = { topic, partition }
    const epoch = this.#epoch
    const reader = new NdjsonReader({
      partition: named,
      position,
      timestampMs,
      lineBytesMax: this.#options.lineBytesMax ?? 16 * 1024 * 1024,
      pollEveryMs: this.#options.pollEveryMs ?? 200,
      format,
      onRecords: (records, next) => this.#handlers?.onRecords(named, epoch, records, next),
      onCaughtUp: () => this.#caughtUp(),
    })
    const reading: Reading = {
      partition: named,
      path,
      kind,
      timestampMs,
      file: undefined,
      reader,
      epoch,
      committed: position,
      beyond: '',
    }
    this.#readings.set(partitionKey(named), reading)
    return reading
  }

  async #readGrowing(reading: Reading): Promise<void> {
    const path = reading.path!
    let current = reading
    for (;;) {
      const { reader } = current
      const ended = await reader.readGrowing(async () => {
        if (current.file === undefined) {
          current.file = await openIfThere(path)
          if (current.file !== undefined) await this.#begin(current, current.file)
        }
        return current.file
      })
      if (ended === 'stopped') return
      this.#log.warn({ path }, 'the file became shorter than what was read of it; reading it from its start')
      this.#handlers?.onLost(current.partition, current.epoch)
      const { file } = current
      const format = this.#isFollowed(current) ? 'plain' : 'stored'
      current = this.#add(current.partition, path, 'growing', 0, Date.now(), format)
      current.file = file
      if (file !== undefined) await this.#begin(current, file)
      this.#handlers?.onAssigned(current.partition, current.epoch)
    }
  }

  async #begin({ path, partition, timestampMs }: Reading, file: FileHandle): Promise<void> {
    if (path !== undefined)
      this.#cursor.set(path, { ...(await freshEntry(file, { ...partition, path })), timestampMs })
  }

  async #note(reading: Reading): Promise<void> {
    const { path, file } = reading
    if (path === undefined) return
    const known = this.#cursor.get(path)
    if (known === undefined) return
    const isDone = reading.reader.ended && reading.committed >= reading.reader.next
    this.#cursor.set(
      path,
      await advanced(file, known, { position: reading.committed, beyond: reading.beyond, isDone }),
    )
  }

  #isFollowed(reading: Reading): boolean {
    const { input } = this.#options
    return input?.follow === true && typeof input.from === 'string' && resolve(input.from) === reading.path
  }

  #caughtUp(): void {
    const readings = [...this.#readings.values()]
    if (readings.some((reading) => this.#isFollowed(reading))) return
    if (readings.every(({ kind, reader }) => kind === 'growing' || reader.ended)) this.#handlers?.onEnd()
  }

  /** A disk that fails while reading is nothing that this process can go on with. */
  async #guard(loop: () => Promise<void>): Promise<void> {
    try {
      await loop()
    } catch (error) {
      this.#handlers?.onFatal(
        new MillraceError('INPUT', `Cannot read on: ${messageOf(error, 300)}`, { cause: error }),
      )
    }
  }
}
