import { History } from './admin/history.ts'
import { AdminServer } from './admin/server.ts'
import type { Status } from './admin/status.ts'
import { AnnouncingPublisher } from './api/events/announcing-publisher.ts'
import { MemoryNotes } from './api/scrapes/notes.ts'
import type { Config } from './config/schema.ts'
import { secretsOf } from './config/secrets.ts'
import { FetchEngine } from './fetch/engine.ts'
import { isPermitLate } from './fetch/errors.ts'
import { readJson, sampleOf } from './fetch/json.ts'
import { adviceOf } from './fetch/rate-headers.ts'
import { retryAfterMs } from './fetch/retry-after.ts'
import { MillraceError } from './job/errors.ts'
import type { ResultMessage } from './job/outcome.ts'
import { actionsOf, carryOut, openReplays } from './parts/actions.ts'
import { openApi } from './parts/api.ts'
import { fetchOptionsOf } from './parts/fetch.ts'
import { openFleet } from './parts/fleet.ts'
import { openImages } from './parts/images.ts'
import { type Input, openIntake, parkingOptionsOf } from './parts/intake.ts'
import { grantTimeoutMs, openLimiter } from './parts/limits.ts'
import { openMarks } from './parts/marks.ts'
import { platformsOf } from './parts/platforms.ts'
import { openProgress } from './parts/progress.ts'
import { openPublisher } from './parts/publisher.ts'
import { openStore } from './parts/store.ts'
import { openEngine } from './parts/timeseries.ts'
import { openTokens } from './parts/tokens.ts'
import { jobTopicOf, topicsOf } from './parts/topics.ts'
import { AdviceRelay } from './pipeline/advice-relay.ts'
import { Completion } from './pipeline/completion.ts'
import { DeadBreaker } from './pipeline/dead-breaker.ts'
import { drain } from './pipeline/drain.ts'
import { Parking } from './pipeline/parking.ts'
import { PermitDesk } from './pipeline/permit-desk.ts'
import { Pipeline } from './pipeline/pipeline.ts'
import { PlatformSwitch } from './pipeline/platform-switch.ts'
import type { RetryPolicy } from './pipeline/retry-policy.ts'
import { Upstream } from './pipeline/upstream.ts'
import { ReadinessWatch } from './readiness.ts'
import { StatusBoard } from './status-board.ts'
import { beginAtZero } from './telemetry/beginnings.ts'
import { EventLoopMonitor } from './telemetry/event-loop.ts'
import type { Log } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'
import { recordProcessFacts } from './telemetry/process-facts.ts'
import { Secrets } from './telemetry/secrets.ts'
import { openTraces } from './telemetry/traces.ts'
import type { Engine } from './timeseries/engine.ts'
import { TimeSeriesSink } from './timeseries/row-sink.ts'
import { version } from './version.ts'

export interface DaemonOptions {
  readonly log: Log
  /** What no message shows; those of the configuration are added, and every token that is fetched. Better shared with the log. */
  readonly secrets?: Secrets
  readonly input: Input
  /** Where relative paths of the configuration start. */
  readonly directory: string
  /** The UV_THREADPOOL_SIZE in effect. */
  readonly uvThreads: number
}

export interface Daemon {
  /** Resolves when a finite input has been worked off; rejects when the daemon cannot go on. */
  readonly ended: Promise<'input worked off'>
  /** `http://…` of the admin page, or null when it is switched off. */
  readonly adminUrl: string | null
  /** `http://…` of the analytics API, or null when it is switched off. */
  readonly apiUrl: string | null
  /** For reading what was written. Open until `stop` has resolved. */
  readonly engine: Engine
  status(): Promise<Status>
  /** Drains within the deadline, flushes, commits, leaves the group, closes. Idempotent. */
  stop(): Promise<void>
}

/** Native work on a picture does not end. Only SIGKILL ends the process then; the crash mark tells the next one of the picture. */
export class StuckError extends MillraceError {
  override readonly name = 'StuckError'

  constructor() {
    super('PICTURE_STUCK', 'a picture does not leave the codec: the process has to be ended by force')
  }
}

/**
 * Builds the daemon from its configuration and starts it, in the order in which data flows backwards: whoever stores first,
 * whoever takes jobs last. What was started is stopped in reverse, also when a later part does not start. Throws
 * MillraceError with one clear line.
 */
export async function startDaemon(config: Config, options: DaemonOptions): Promise<Daemon> {
  const { log, input, directory, uvThreads, secrets = new Secrets() } = options
  secrets.add(secretsOf(config))
  const metrics = createMetrics({ defaults: true })
  recordProcessFacts(metrics, version)
  const ended = Promise.withResolvers<'input worked off'>()
  // Whoever started us may stop us before looking at how we ended.
  ended.promise.catch(() => {})
  const onStuck = () => ended.reject(new StuckError())
  const platforms = await platformsOf(config, directory)
  const topics = topicsOf(
    config,
    platforms.map(({ platform }) => platform.name),
  )
  const retry: RetryPolicy = {
    attemptsMax: config.fetch.attempts,
    baseMs: config.retry.base,
    ceilingMs: config.retry.ceiling,
    inPlaceMaxMs: config.retry.in_place_max,
    throttledMax: config.retry.throttled_max,
  }
  let phase: 'starting' | 'running' | 'draining' = 'starting'
  await using started = new AsyncDisposableStack()
  const running = <T extends { start(): unknown; stop(): unknown }>(part: T): Promise<T> =>
    begin(started, part)

  // Rows, pictures, results: where everything ends up.
  const engine = started.adopt(openEngine(config), (one) => one.close())
  const rows = await running(
    new TimeSeriesSink({
      engine,
      metrics,
      log,
      keepEngineOpen: true,
      limits: {
        rowsMax: config.rows.batch_rows,
        bytesMax: config.rows.batch_bytes,
        ageMs: config.rows.batch_age,
        bufferRowsMax: config.rows.buffered_rows_max,
      },
      retention: config.rows.retention,
    }),
  )
  const store = started.adopt(await openStore(config), (one) => one.stop())
  await store.check()
  let announce = (_result: ResultMessage) => {}
  const published = await openPublisher(config, topics, log)
  const publisher = await running(
    config.api.enabled && config.kafka === undefined
      ? new AnnouncingPublisher(published, { topic: topics.results, onResult: (result) => announce(result) })
      : published,
  )
  const replays = await running(openReplays(config, topics, publisher, log))

  // The upstream: who may send what, and how.
  const limiter = await running(openLimiter(config, metrics, log))
  if (config.redis === undefined && config.limits.cold_start === 'empty') {
    log.info(
      'the first calls wait for a window of their endpoint and fetch.timeout, since nothing is known of calls before this start; ' +
        'set limits.cold_start: full if there were none',
    )
  }
  const fetcher = started.adopt(new FetchEngine(fetchOptionsOf(config, platforms), { metrics, log }), (one) =>
    one.stop(AbortSignal.timeout(1_000)),
  )
  const images = config.images.enabled
    ? await running(openImages(config, { downloader: fetcher, store, metrics, log, uvThreads, onStuck }))
    : undefined
  const origins = new Map(platforms.map(({ platform, origin }) => [platform.name, origin]))
  const upstreams = new Map<string, Upstream>()
  const desk = await running(
    new PermitDesk(limiter, metrics, log, {
      // Half of the jitter is for the way through the daemon, half for the network.
      useWithinMs: config.limits.jitter / 2,
      grantTimeoutMs: grantTimeoutMs(config),
      room: (platform) => fetcher.room(origins.get(platform) ?? ''),
      credentials: (platform) => upstreams.get(platform)?.credentials,
    }),
  )
  const tokens = openTokens(config, log)
  if (tokens !== undefined) await running(tokens)
  const { redact } = secrets
  const reader = {
    readJson: (body: Buffer) => readJson(body, { redact }),
    sampleOf: (body: Buffer) => sampleOf(body, redact),
    retryAfterMs,
    adviceOf,
  }
  const relay = new AdviceRelay(limiter, log)
  const shelfOf = tokens?.shelfOf.bind(tokens)
  const live = new Set<string>()
  for (const { platform, ...options } of platforms) {
    const ports = {
      desk,
      fetcher,
      relay,
      limiter,
      reader,
      secrets,
      metrics,
      log,
      retry,
      isLate: isPermitLate,
      shelfOf,
    }
    upstreams.set(platform.name, new Upstream(platform, options, ports))
    beginAtZero(metrics, platform)
    metrics.platform_credentials.set({ platform: platform.name }, options.credentials.length)
    if (options.credentials.length > 0) {
      live.add(platform.name)
      continue
    }
    desk.pause(platform.name, 'it has no credentials')
    log.warn(
      { platform: platform.name },
      `${platform.name} has no credentials: its jobs wait; set platforms.${platform.name}.credentials`,
    )
  }

  const pauses = new PlatformSwitch(live, { desk, metrics, log })

  // Jobs: from the intake through the pipeline.
  const marks = await running(openMarks(config, log))
  const notes = new MemoryNotes()
  const progress = started.adopt(openProgress(config, notes, log), (one) => one.stop())
  const intake = openIntake(config, topics, input, { metrics, log })
  const parking = await running(new Parking(parkingOptionsOf(config, topics, live), intake, log))
  const pipeline = new Pipeline({
    upstreams,
    completion: new Completion(
      { publisher, rows, marks, pictures: images, metrics },
      {
        writer: { group: config.kafka?.group ?? 'embedded', version },
        resultsTopic: topics.results,
        deadTopic: topics.dead,
        followUpTopic: (platform) => jobTopicOf(topics, platform),
        retryTopics: topics.retry,
      },
    ),
    marks,
    parking,
    pauses,
    breaker: new DeadBreaker({ share: config.retry.dead_share, sample: config.retry.dead_sample }),
    retry,
    metrics,
    log,
    secrets,
    logJobs: config.log.jobs,
    traces: openTraces(version),
    progress,
  })
  const readiness = new ReadinessWatch(
    [
      { service: 'clickhouse', healthy: () => rows.healthy, away: 'ClickHouse does not take rows' },
      { service: 'store', healthy: () => images?.healthy ?? true, away: 'the store does not take pictures' },
      { service: 'kafka', healthy: () => publisher.healthy, away: 'results cannot be published' },
      {
        service: 'redis',
        healthy: () => limiter.healthy,
        away: 'the limiter does not answer: nothing is fetched',
      },
    ],
    () => [
      ...(phase === 'running' ? [] : [`the daemon is ${phase}`]),
      ...(intake.assigned ? [] : ['no partitions have been assigned yet']),
    ],
    metrics,
    (service, healthy, away) => {
      if (healthy) {
        intake.release(service)
        log.info({ service }, 'back: the intake goes on')
      } else {
        intake.hold(service)
        log.error({ service }, `${away}: the intake is held`)
      }
    },
  )
  const loop = await running(new EventLoopMonitor({ metrics }))
  const board = new StatusBoard({
    ...{ config, metrics, pipeline, desk, parking, limiter, intake, images, platforms, loop },
    ...{ upstreams, pauses, readiness, replays },
  })
  const history = await running(new History(() => board.reading()))
  const source = {
    ready: () => readiness.get(),
    status: () => board.status(),
    picture: (key: string) => store.get(key),
    history,
  }
  const fleet = openFleet(config, {
    report: () => board.report(),
    address: () => admin?.address,
    onOrder: (order) => carryOut(pauses, order),
    log,
  })
  board.fleet = fleet
  const actions = actionsOf({ platforms: new Set(upstreams.keys()), pauses, fleet, replays })
  const admin: AdminServer | null = config.admin.enabled
    ? await running(
        new AdminServer(config.admin, {
          source,
          metrics,
          log,
          actions,
          beforeScrape: [() => board.refresh(), () => loop.record()],
        }),
      )
    : null
  await running(readiness)
  if (fleet !== undefined) await running(fleet)
  // The embedded database belongs to this process, so whoever wants to ask it has to ask here.
  const api = config.api.enabled
    ? openApi(config, {
        ...{ engine, store, publisher, topics, metrics, log, notes },
        platforms: platforms.map(({ platform }) => platform),
      })
    : null
  if (api !== null) {
    announce = (result) => api.onResult(result)
    await running(api)
  }

  await intake.start({
    onDelivery: (delivery) => pipeline.accept(delivery),
    onFatal: (error) => ended.reject(error),
  })
  void intake.idle.then(() => ended.resolve('input worked off'))
  started.defer(() => intake.stop())
  started.defer(async () => {
    phase = 'draining'
    desk.dismiss()
    await drain(intake, pipeline, config.drain_deadline, log)
  })
  phase = 'running'
  log.info({ version, ...board.mode, admin: admin?.address?.url }, 'millrace is running')

  const parts = started.move()
  return {
    ended: ended.promise,
    adminUrl: admin?.address?.url ?? null,
    apiUrl: api?.url ?? null,
    engine,
    status: () => board.status(),
    stop: () => parts.disposeAsync(),
  }
}

/** Starts a part, and leaves word to stop it. A part whose start fails is stopped too: it may have opened something. */
async function begin<T extends { start(): unknown; stop(): unknown }>(
  stack: AsyncDisposableStack,
  part: T,
): Promise<T> {
  stack.defer(async () => {
    await part.stop()
  })
  await part.start()
  return part
}
