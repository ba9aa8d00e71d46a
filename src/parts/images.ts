import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { type CrashMarks, FileCrashMarks } from '../images/crash-marks.ts'
import { PicturePool } from '../images/pool.ts'
import { DEFAULT_ENCODER, DEFAULT_LIMITS } from '../images/resize-task.ts'
import { Pictures } from '../images/stage.ts'
import type { Downloader } from '../job/fetch.ts'
import type { PictureOutcome, PictureRequest, PictureStage } from '../job/picture.ts'
import type { Steps } from '../job/steps.ts'
import type { ObjectStore } from '../job/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'

export interface ImagesParts {
  readonly downloader: Downloader
  readonly store: ObjectStore
  readonly metrics: Metrics
  readonly log: Log
  /** The UV_THREADPOOL_SIZE in effect. */
  readonly uvThreads: number
  /** Native work on a picture does not end: the process has to, and nothing gentler than SIGKILL ends it. */
  readonly onStuck: () => void
}

const NEWEST_MAX = 24

/** The picture room as the daemon sees it: the stage, and what the console shows of it. */
export class Images implements PictureStage {
  readonly #stage: Pictures
  readonly #pool: PicturePool
  readonly #metrics: Metrics
  readonly #newest: string[] = []

  constructor(stage: Pictures, pool: PicturePool, metrics: Metrics) {
    this.#stage = stage
    this.#pool = pool
    this.#metrics = metrics
  }

  async process(request: PictureRequest, signal: AbortSignal, trace?: Steps): Promise<PictureOutcome> {
    const outcome = await this.#stage.process(request, signal, trace)
    if (outcome.status === 'stored' && !outcome.known) {
      const smallest = outcome.variants.reduce((a, b) => (b.bytes < a.bytes ? b : a))
      this.#newest.unshift(smallest.key)
      this.#newest.length = Math.min(this.#newest.length, NEWEST_MAX)
    }
    return outcome
  }

  get healthy(): boolean {
    return this.#stage.healthy
  }

  /** Keys of the smallest variant of the pictures that were stored last, newest first. */
  get newest(): readonly string[] {
    return this.#newest
  }

  async poolState(): Promise<{ queued: number; utilisation: number }> {
    const [queued, utilisation] = await Promise.all([
      this.#metrics.picture_pool_queue_size.get(),
      this.#metrics.picture_pool_utilisation_ratio.get(),
    ])
    return { queued: queued.values[0]?.value ?? 0, utilisation: utilisation.values[0]?.value ?? 0 }
  }

  async start(): Promise<void> {
    await this.#pool.start()
    await this.#stage.start()
  }

  async stop(): Promise<void> {
    await this.#stage.stop()
    await this.#pool.stop()
  }
}

export function openImages(
  config: Config,
  { downloader, store, metrics, log, uvThreads, onStuck }: ImagesParts,
): Images {
  const { images } = config
  const marks = new FileCrashMarks({ path: join(config.data, 'decoding'), slots: uvThreads, log })
  const pool = openPool(config, { marks, metrics, log, uvThreads, onStuck })
  const stage = new Pictures(
    { variants: images.variants, bytesMax: images.bytes_max, bytesInFlightMax: images.queued_bytes_max },
    { downloader, store, pool, metrics, log },
  )
  return new Images(stage, pool, metrics)
}

/** The pool alone, as the configuration wants it. */
export function openPool(
  { images }: Config,
  {
    marks,
    metrics,
    log,
    uvThreads,
    onStuck,
  }: Omit<ImagesParts, 'downloader' | 'store'> & { marks: CrashMarks },
): PicturePool {
  return new PicturePool(
    {
      variants: images.variants,
      limits: { ...DEFAULT_LIMITS, pixelsMax: images.pixels_max, timeoutMs: images.work_timeout },
      encoder: { ...DEFAULT_ENCODER, jpegOptimiseCoding: images.optimise_coding },
      uvThreads,
      onStuck,
    },
    { marks, metrics, log },
  )
}
