import type { HistoryReading } from './admin/history.ts'
import type { PartitionStatus, PlatformStatus, ReasonCount, RecentFailure, Status } from './admin/status.ts'
import type { Config } from './config/schema.ts'
import type { ReplayDesk } from './dead-letters/replay-desk.ts'
import type { Fleet } from './fleet/fleet.ts'
import type { Report } from './fleet/member.ts'
import type { Intake } from './intake/intake.ts'
import type { LevelState, Limiter } from './job/permit.ts'
import { isReason, REASONS } from './job/reason.ts'
import type { TableName } from './job/row.ts'
import { recordLevels } from './limiter/utilisation.ts'
import type { Images } from './parts/images.ts'
import type { ConfiguredPlatform } from './parts/platforms.ts'
import type { Parking } from './pipeline/parking.ts'
import type { PermitDesk } from './pipeline/permit-desk.ts'
import type { Pipeline } from './pipeline/pipeline.ts'
import type { PlatformSwitch } from './pipeline/platform-switch.ts'
import type { Upstream } from './pipeline/upstream.ts'
import type { ReadinessWatch } from './readiness.ts'
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
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly pauses: PlatformSwitch
  readonly readiness: ReadinessWatch
  readonly replays: ReplayDesk
}

/** Levels are asked of the limiter at most this often: a page that many people watch costs Redis no more than one. */
const LEVELS_EVERY_MS = 1_000

/** Puts what the parts know together, for `/status`, the console, the demo and the scrape. */
export class StatusBoard {
  readonly mode: Status['mode']
  readonly #parts: BoardParts
  readonly #startedAtMs = Date.now()
  #levels: readonly LevelState[] = []
  #reported = { atMs: performance.now(), ended: 0 }
  /** Set once the daemon has joined it: the fleet is told of the board, too. */
  fleet: Fleet | undefined
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

  /** For the chart: cheap enough to be taken every few seconds for good, so nothing is asked of Redis. */
  async reading(): Promise<HistoryReading> {
    const { pipeline, metrics, desk, loop, images } = this.#parts
    const { consumed, finished } = pipeline.counts
    const [granted, pictures, rows, lags, pool] = await Promise.all([
      sumBy(metrics.permits_granted_total, 'platform'),
      sumBy(metrics.pictures_total, 'outcome'),
      sumBy(metrics.rows_written_total, 'table'),
      sumBy(metrics.kafka_lag_records, 'topic'),
      images?.poolState(),
    ])
    const { done, skipped, dead, retry } = finished
    return {
      counters: {
        ...{ consumed, done, skipped, dead, retry },
        ...{
          granted: total(granted),
          pictures: (pictures.stored ?? 0) + (pictures.known ?? 0),
          rows: total(rows),
        },
      },
      gauges: {
        waiting: Object.values(desk.queued()).reduce((sum, endpoints) => sum + total(endpoints), 0),
        lag: total(lags),
        inFlight: pipeline.inFlight,
        loopMs: loop.read().p99Ms,
        pool: pool?.utilisation ?? 0,
        rssBytes: process.memoryUsage.rss(),
      },
    }
  }

  /** What the other daemons are told. */
  report(): Omit<Report, 'name' | 'url'> {
    const { pipeline, readiness } = this.#parts
    const { done, skipped, dead } = pipeline.counts.finished
    const ended = done + skipped + dead
    const nowMs = performance.now()
    const seconds = (nowMs - this.#reported.atMs) / 1000
    const perSecond = seconds > 0 ? (ended - this.#reported.ended) / seconds : 0
    this.#reported = { atMs: nowMs, ended }
    const startedAt = new Date(this.#startedAtMs).toISOString()
    return { version, startedAt, ready: readiness.get().ready, inFlight: pipeline.inFlight, ended, perSecond }
  }

  async status(): Promise<Status> {
    const { pipeline, parking, metrics, images, loop, readiness, replays } = this.#parts
    const { consumed, finished } = pipeline.counts
    const memory = process.memoryUsage()
    const [
      levels,
      permits,
      pool,
      pictures,
      written,
      buffered,
      retried,
      died,
      platforms,
      partitions,
      committed,
    ] = await Promise.all([
      this.#levelsNow(),
      this.#permits(),
      images?.poolState() ?? { queued: 0, utilisation: 0 },
      sumBy(metrics.pictures_total, 'outcome'),
      sumBy(metrics.rows_written_total, 'table'),
      sumBy(metrics.rows_buffered, 'table'),
      sumBy(metrics.retries_total, 'reason'),
      sumBy(metrics.dead_letters_total, 'reason'),
      this.#platforms(),
      this.#partitions(),
      sumBy(metrics.kafka_committed_total, ''),
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
        reasons: reasonsOf(died, retried),
      },
      platforms,
      services: readiness.services,
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
      partitions,
      committed: total(committed),
      replay: replays.state,
      fleet: this.fleet?.members ?? [],
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

  async #platforms(): Promise<readonly PlatformStatus[]> {
    const { metrics, upstreams, pauses, desk } = this.#parts
    const [fetching, open, rejections] = await Promise.all([
      sumBy(metrics.fetches_in_flight, 'platform'),
      sumBy(metrics.breaker_open, 'platform'),
      sumBy(metrics.upstream_rejections_total, 'platform'),
    ])
    const paused = new Map(desk.paused.map(({ platform, because }) => [platform, because]))
    return [...upstreams].map(([platform, { credentials }]) => ({
      platform,
      pausedBecause: paused.get(platform) ?? null,
      hasCredentials: pauses.isLive(platform),
      credentials: credentials.states,
      fetching: fetching[platform] ?? 0,
      breakerOpen: (open[platform] ?? 0) > 0,
      rejections: rejections[platform] ?? 0,
    }))
  }

  async #partitions(): Promise<readonly PartitionStatus[]> {
    const { metrics, intake } = this.#parts
    const lags = new Map<string, number>()
    for (const { labels, value } of (await metrics.kafka_lag_records.get()).values)
      lags.set(`${labels.topic}/${labels.partition}`, value)
    return intake.partitions.map(({ topic, partition, paused }) => {
      return { topic, partition, paused, lag: lags.get(`${topic}/${partition}`) ?? null }
    })
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

/** Those that came up, the most deadly first. */
function reasonsOf(
  died: Readonly<Record<string, number>>,
  retried: Readonly<Record<string, number>>,
): ReasonCount[] {
  const counts = [...new Set([...Object.keys(died), ...Object.keys(retried)])]
    .filter(isReason)
    .map((reason) => {
      const { kind } = REASONS[reason]
      return { reason, kind, dead: died[reason] ?? 0, retried: retried[reason] ?? 0 }
    })
  // Those that alerts watch are counted from zero on, whether they come up or not.
  const cameUp = counts.filter(({ dead, retried }) => dead + retried > 0)
  return cameUp.sort((a, b) => b.dead - a.dead || b.retried - a.retried)
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
