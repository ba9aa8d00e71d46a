import type { RecentFailure, Status } from './admin/status.ts'
import type { Config } from './config/schema.ts'
import type { Intake } from './intake/intake.ts'
import type { LevelState, Limiter } from './job/permit.ts'
import type { TableName } from './job/row.ts'
import { recordLevels } from './limiter/utilisation.ts'
import type { Images } from './parts/images.ts'
import type { ConfiguredPlatform } from './parts/platforms.ts'
import type { Parking } from './pipeline/parking.ts'
import type { PermitDesk } from './pipeline/permit-desk.ts'
import type { Pipeline } from './pipeline/pipeline.ts'
import type { EventLoopMonitor } from './telemetry/event-loop.ts'
import type { Metrics } from './telemetry/metrics.ts'
import { version } from './version.ts'

export interface BoardParts {
  readonly config: Config
  readonly metrics: Metrics
  readonly pipeline: Pipeline
  readonly desk: PermitDesk
  readonly parking: Parking
  readonly limiter: Limiter
  readonly intake: Intake
  readonly images: Images | undefined
  readonly platforms: readonly ConfiguredPlatform[]
  readonly loop: EventLoopMonitor
}

/** Levels are asked of the limiter at most this often: a page that many people watch costs Redis no more than one. */
const LEVELS_EVERY_MS = 1_000

/** Puts what the parts know together, for `/status`, the console, the demo and the scrape. */
export class StatusBoard {
  readonly mode: Status['mode']
  readonly #parts: BoardParts
  readonly #startedAtMs = Date.now()
  #levels: readonly LevelState[] = []
  #levelsAtMs = Number.NEGATIVE_INFINITY

  constructor(parts: BoardParts) {
    this.#parts = parts
    const { kafka, redis, clickhouse, store } = parts.config
    this.mode = {
      source: kafka === undefined ? 'file' : 'kafka',
      limiter: redis === undefined ? 'memory' : 'redis',
      rows: clickhouse === undefined ? 'chdb' : 'clickhouse',
      store: store?.kind ?? 'folder',
    }
  }

  /** Brings the gauges up to date that are read rather than counted; called ahead of a scrape. */
  async refresh(): Promise<void> {
    recordLevels(this.#parts.metrics, await this.#levelsNow(), Date.now())
  }

  async status(): Promise<Status> {
    const { pipeline, parking, metrics, images, loop } = this.#parts
    const { consumed, finished } = pipeline.counts
    const memory = process.memoryUsage()
    const [levels, permits, pool, pictures, written, buffered, retried] = await Promise.all([
      this.#levelsNow(),
      this.#permits(),
      images?.poolState() ?? { queued: 0, utilisation: 0 },
      sumBy(metrics.pictures_total, 'outcome'),
      sumBy(metrics.rows_written_total, 'table'),
      sumBy(metrics.rows_buffered, 'table'),
      sumBy(metrics.retries_total, 'platform'),
    ])
    return {
      version,
      startedAt: new Date(this.#startedAtMs).toISOString(),
      uptimeS: (Date.now() - this.#startedAtMs) / 1000,
      mode: this.mode,
      jobs: {
        consumed,
        inFlight: pipeline.inFlight,
        retried: total(retried),
        finished: { done: finished.done, skipped: finished.skipped, dead: finished.dead },
        recentFailures: pipeline.recentFailures as readonly RecentFailure[],
      },
      parking: parking.states,
      permits,
      levels,
      pictures: {
        stored: pictures.stored ?? 0,
        known: pictures.known ?? 0,
        rejected: pictures.rejected ?? 0,
        newest: images?.newest ?? [],
      },
      pool,
      rows: { written: written as Partial<Record<TableName, number>>, buffered: total(buffered) },
      partitions: [],
      loop: loop.read(),
      memory: { rssBytes: memory.rss, heapUsedBytes: memory.heapUsed },
    }
  }

  /** Of all platforms, the global level once. Empty while the limiter is away: nothing is known then. */
  async #levelsNow(): Promise<readonly LevelState[]> {
    const nowMs = performance.now()
    if (nowMs - this.#levelsAtMs < LEVELS_EVERY_MS) return this.#levels
    this.#levelsAtMs = nowMs
    const { limiter, platforms } = this.#parts
    try {
      const each = await Promise.all(platforms.map(({ platform }) => limiter.levels(platform.name)))
      this.#levels = [...new Map(each.flat().map((state) => [state.level, state])).values()]
    } catch {
      this.#levels = []
    }
    return this.#levels
  }

  async #permits(): Promise<Status['permits']> {
    const permits: Record<string, Record<string, { queued: number; granted: number }>> = {}
    const at = (platform: string, endpoint: string) => {
      permits[platform] ??= {}
      permits[platform][endpoint] ??= { queued: 0, granted: 0 }
      return permits[platform][endpoint]
    }
    for (const { labels, value } of (await this.#parts.metrics.permits_granted_total.get()).values) {
      at(String(labels.platform), String(labels.endpoint)).granted = value
    }
    for (const [platform, endpoints] of Object.entries(this.#parts.desk.queued())) {
      for (const [endpoint, queued] of Object.entries(endpoints)) at(platform, endpoint).queued = queued
    }
    return permits
  }
}

interface Readable {
  get(): Promise<{ values: { labels: Partial<Record<string, string | number>>; value: number }[] }>
}

/** A metric's values, summed over all labels but one. */
async function sumBy(metric: Readable, label: string): Promise<Record<string, number>> {
  const sums: Record<string, number> = {}
  for (const { labels, value } of (await metric.get()).values) {
    const key = String(labels[label] ?? '')
    sums[key] = (sums[key] ?? 0) + value
  }
  return sums
}

function total(sums: Readonly<Record<string, number>>): number {
  return Object.values(sums).reduce((sum, value) => sum + value, 0)
}
