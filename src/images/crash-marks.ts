import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import type { Log } from '../telemetry/log.ts'

/**
 * Remembers, beyond the death of the process, which pictures were being decoded when it died. Native code that crashes takes
 * the daemon along; a mark that outlives it is how the picture is recognised when it comes back.
 */
export interface CrashMarks {
  /** Sets the mark; answers how many earlier tries never ended. Call `end` when the try has ended, however it did. */
  begin(sha256: string): Promise<number>
  /** Removes the mark. `survived`: it was decoded (or refused) and we are still here, so the earlier tries are forgotten too. */
  end(sha256: string, how: 'survived' | 'not_tried'): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

export interface FileCrashMarksOptions {
  /** Two files beside each other: `<path>` (what is being decoded now) and `<path>.json` (what did not survive). */
  readonly path: string
  /** At least as many as pictures can be in the codec at once. */
  readonly slots: number
  /** An old crash is forgotten after this; default a day. Then the picture gets its tries back. */
  readonly forgetAfterMs?: number
  readonly log: Log
  /** Unix ms. */
  readonly now?: () => number
}

/** 64 hex digits and a line feed. */
const SLOT_BYTES = 65
const EMPTY_SLOT = `${' '.repeat(SLOT_BYTES - 1)}\n`
const SHA_256 = /^[0-9a-f]{64}$/
/** More would mean that something else is killing the daemon. */
const CRASHES_MAX = 1000

const crashesSchema = z.record(
  z.string().regex(SHA_256),
  z.object({ tries: z.int().min(1), atMs: z.number() }),
)

/**
 * Marks in a file of fixed slots, for one process. A mark is one small write into the page cache, which survives the process
 * (not the machine, which a picture does not crash): 10 µs, synchronous so that it is certain to come before the decoding.
 * The slots that are still taken at start-up are counted, and the counts kept in a second file, which changes only then.
 */
export class FileCrashMarks implements CrashMarks {
  readonly #options: FileCrashMarksOptions
  readonly #free: number[] = []
  readonly #taken = new Map<string, number>()
  #crashes = new Map<string, { tries: number; atMs: number }>()
  #file: number | undefined

  constructor(options: FileCrashMarksOptions) {
    this.#options = options
  }

  /** Reads what the last process left. Rejects when the file cannot be written: without marks nothing must be decoded. */
  async start(): Promise<void> {
    if (this.#file !== undefined) return
    const { path, slots, log } = this.#options
    const nowMs = this.#now()
    await mkdir(dirname(path), { recursive: true })
    await this.#readCrashes(nowMs)
    const left = (await readFile(path, 'latin1').catch(() => ''))
      .split('\n')
      .filter((line) => SHA_256.test(line))
    for (const sha256 of new Set(left)) {
      const tries = (this.#crashes.get(sha256)?.tries ?? 0) + 1
      this.#crashes.set(sha256, { tries, atMs: nowMs })
      log.warn({ sha256, tries }, 'the process died while this picture was being decoded')
    }
    if (left.length > 0) await this.#writeCrashes()
    this.#file = openSync(path, 'w')
    writeSync(this.#file, EMPTY_SLOT.repeat(slots), 0, 'latin1')
    this.#free.length = 0
    for (let slot = slots - 1; slot >= 0; slot--) this.#free.push(slot)
  }

  async stop(): Promise<void> {
    if (this.#file === undefined) return
    closeSync(this.#file)
    this.#file = undefined
    this.#taken.clear()
  }

  async begin(sha256: string): Promise<number> {
    const slot = this.#free.at(-1)
    if (this.#file === undefined || slot === undefined || this.#taken.has(sha256)) {
      throw new Error('crash marks: not started, more tries than slots, or the same picture twice at once')
    }
    this.#free.pop()
    writeSync(this.#file, `${sha256}\n`, slot * SLOT_BYTES, 'latin1')
    this.#taken.set(sha256, slot)
    return this.#crashes.get(sha256)?.tries ?? 0
  }

  async end(sha256: string, how: 'survived' | 'not_tried'): Promise<void> {
    const slot = this.#taken.get(sha256)
    if (this.#file === undefined || slot === undefined) return
    this.#taken.delete(sha256)
    writeSync(this.#file, EMPTY_SLOT, slot * SLOT_BYTES, 'latin1')
    this.#free.push(slot)
    if (how === 'survived' && this.#crashes.delete(sha256)) await this.#writeCrashes()
  }

  async #readCrashes(nowMs: number): Promise<void> {
    const forgetAfterMs = this.#options.forgetAfterMs ?? 24 * 60 * 60 * 1000
    const text = await readFile(`${this.#options.path}.json`, 'utf8').catch(() => '{}')
    try {
      const known = Object.entries(crashesSchema.parse(JSON.parse(text)))
      const recent = known
        .filter(([, { atMs }]) => nowMs - atMs < forgetAfterMs)
        .sort(([, a], [, b]) => b.atMs - a.atMs)
      this.#crashes = new Map(recent.slice(0, CRASHES_MAX))
    } catch {
      this.#options.log.warn(
        { path: `${this.#options.path}.json` },
        'crash marks are not readable and start empty',
      )
    }
  }

  async #writeCrashes(): Promise<void> {
    const temporary = `${this.#options.path}.json.new`
    await writeFile(temporary, JSON.stringify(Object.fromEntries(this.#crashes)))
    await rename(temporary, `${this.#options.path}.json`)
  }

  #now(): number {
    return (this.#options.now ?? Date.now)()
  }
}
