import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { FileCrashMarks } from '../../src/images/crash-marks.ts'
import { PicturePool, type PicturePoolOptions } from '../../src/images/pool.ts'
import { DEFAULT_ENCODER, DEFAULT_LIMITS, type DecodeLimits } from '../../src/images/resize-task.ts'
import { Pictures, type PicturesOptions } from '../../src/images/stage.ts'
import { DEFAULT_VARIANTS } from '../../src/images/variants.ts'
import type { Downloader, Reply } from '../../src/job/fetch.ts'
import type { ObjectInfo, ObjectMeta, ObjectStore } from '../../src/job/store.ts'
import { FolderStore } from '../../src/store/folder.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts'

export const LOG = createLog({ level: 'silent', pretty: false, secrets: [] })

type Answer = Partial<Reply> | Error
type DownloadOptions = Parameters<Downloader['download']>[1]

/** Stands in for the fetch engine: answers by path, counts, and can hold every answer back. */
export class PlayedDownloader implements Downloader {
  readonly asked: { url: string; options: DownloadOptions }[] = []
  inFlight = 0
  inFlightMost = 0
  hold: Promise<void> = Promise.resolve()
  readonly #answers = new Map<string, (options: DownloadOptions) => Answer>()

  on(url: string, answer: Answer | ((options: DownloadOptions) => Answer)): void {
    this.#answers.set(url, typeof answer === 'function' ? answer : () => answer)
  }

  async download(url: URL, options: DownloadOptions): Promise<Reply> {
    this.asked.push({ url: url.href, options })
    this.inFlightMost = Math.max(this.inFlightMost, ++this.inFlight)
    try {
      await Promise.race([this.hold, aborted(options.signal)])
      const answer = this.#answers.get(url.href)?.(options) ?? { status: 404 }
      if (answer instanceof Error) throw answer
      return { status: 200, headers: {}, body: Buffer.alloc(0), durationMs: 1, ...answer }
    } finally {
      this.inFlight--
    }
  }
}

/** A real store that can be made to fail, and counts. */
export class WatchedStore implements ObjectStore {
  readonly inner: ObjectStore
  fails: Error | undefined
  hold: Promise<void> = Promise.resolve()
  readonly calls = { put: 0, head: 0 }
  readonly outcomes: string[] = []

  constructor(inner: ObjectStore) {
    this.inner = inner
  }

  async put(
    key: string,
    body: Uint8Array,
    meta: ObjectMeta,
    signal?: AbortSignal,
  ): Promise<'written' | 'present'> {
    this.calls.put++
    await (signal === undefined ? this.hold : Promise.race([this.hold, aborted(signal)]))
    if (this.fails !== undefined) throw this.fails
    const outcome = await this.inner.put(key, body, meta, signal)
    this.outcomes.push(outcome)
    return outcome
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | null> {
    this.calls.head++
    if (this.fails !== undefined) throw this.fails
    return this.inner.head(key, signal)
  }

  get(key: string): Promise<Buffer | null> {
    return this.inner.get(key)
  }

  presign(): Promise<string | null> {
    return Promise.resolve(null)
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.inner.list(prefix)
  }

  delete(key: string): Promise<void> {
    return this.inner.delete(key)
  }

  async check(): Promise<void> {}

  async stop(): Promise<void> {}
}

export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-images-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

/** Longer than a machine stands still: what the codec did meanwhile is seen only after the timers have run. */
export const PATIENT_LIMITS: DecodeLimits = { ...DEFAULT_LIMITS, timeoutMs: 120_000 }

/** A pool with real threads, not started; stopped when the test ends. */
export async function openPool(
  t: TestContext,
  options: Partial<PicturePoolOptions> & { marksPath?: string } = {},
): Promise<{ pool: PicturePool; metrics: Metrics; marks: FileCrashMarks }> {
  const metrics = createMetrics()
  const path = options.marksPath ?? join(await temporaryFolder(t), 'marks')
  const marks = new FileCrashMarks({ path, slots: 16, log: LOG })
  const pool = new PicturePool(
    {
      ...{ variants: DEFAULT_VARIANTS, limits: PATIENT_LIMITS, encoder: DEFAULT_ENCODER },
      drainTimeoutMs: 120_000,
      ...options,
    },
    { marks, metrics, log: LOG },
  )
  t.after(() => pool.stop())
  return { pool, metrics, marks }
}

/** A started stage on a folder, a played downloader and a real pool; `more` overrides the stage's options. */
export async function openStage(
  t: TestContext,
  more: Partial<PicturesOptions> & {
    pool?: Partial<PicturePoolOptions>
    now?: () => number
    store?: ObjectStore
  } = {},
) {
  const { pool: poolOptions, now, store: given, ...options } = more
  const { pool, metrics } = await openPool(t, poolOptions)
  const downloader = new PlayedDownloader()
  const store = new WatchedStore(given ?? new FolderStore({ folder: await temporaryFolder(t), flush: false }))
  const stage = new Pictures(
    {
      variants: DEFAULT_VARIANTS,
      downloadBackoffMs: 1,
      storeBackoffMs: 5,
      storeBackoffMsMax: 20,
      ...options,
    },
    { downloader, store, pool, metrics, log: LOG, ...(now === undefined ? {} : { now }) },
  )
  await stage.start()
  t.after(() => stage.stop())
  const picture = (url: string, signal = new AbortController().signal) =>
    stage.process({ url, subject: 'avatar' }, signal)
  return { stage, pool, metrics, downloader, store, picture }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
