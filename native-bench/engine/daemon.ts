import { AdminServer } from '../../src/admin/server.ts'
import { type Config, type ConfigInput, configSchema } from '../../src/config/schema.ts'
import { FetchEngine } from '../../src/fetch/engine.ts'
import { isPermitLate } from '../../src/fetch/errors.ts'
import { readJson, sampleOf } from '../../src/fetch/json.ts'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { retryAfterMs } from '../../src/fetch/retry-after.ts'
import { Intake } from '../../src/intake/intake.ts'
import { MAIN_CREDENTIAL } from '../../src/job/credential.ts'
import type { Marks } from '../../src/job/mark.ts'
import type { Publisher } from '../../src/job/record.ts'
import type { RowSink } from '../../src/job/row.ts'
import { fetchOptionsOf } from '../../src/parts/fetch.ts'
import { openIntake, parkingOptionsOf } from '../../src/parts/intake.ts'
import { grantTimeoutMs, openLimiter } from '../../src/parts/limits.ts'
import { openMarks } from '../../src/parts/marks.ts'
import { openPublisher } from '../../src/parts/publisher.ts'
import { topicsOf } from '../../src/parts/topics.ts'
import { AdviceRelay } from '../../src/pipeline/advice-relay.ts'
import { Completion } from '../../src/pipeline/completion.ts'
import { DeadBreaker } from '../../src/pipeline/dead-breaker.ts'
import { Parking } from '../../src/pipeline/parking.ts'
import { PermitDesk } from '../../src/pipeline/permit-desk.ts'
import { Pipeline } from '../../src/pipeline/pipeline.ts'
import { Upstream } from '../../src/pipeline/upstream.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { Secrets } from '../../src/telemetry/secrets.ts'
import { sourceOf } from '../../test/admin/source.ts'
import { fillSeries } from '../scrape/fill-series.ts'
import type { Contestant } from './contestant.ts'
import { memorySource } from './memory-source.ts'
import { PLATFORM, platform } from './work.ts'

export interface Services {
  /** host:port of a Kafka broker. */
  readonly kafka: string
  /** Address of a Redis. */
  readonly redis: string
}

export const JOBS_TOPIC = 'bench.jobs'

/** What a daemon has beside its work, each for what it costs. */
export interface Extras {
  /** A line of the log for each job, to /dev/null, with as many secrets to look for as a configuration has. Default: none. */
  readonly logJobs?: 'all'
  /** An admin port, with every series of so many platforms and endpoints; its address is the contestant's `url`. */
  readonly series?: { readonly platforms: number; readonly endpoints: number }
}

/** Jobs in memory for each socket: enough that none is idle. The default, 10,000 in all, is for queues that stand. */
const JOBS_A_SOCKET = 4

/** A daemon's configuration with its limits wide open. */
export function configOf(sockets: number, services?: Services): Config {
  const open = { rate: 5e5, burst: 1e6 }
  const input: ConfigInput = {
    fetch: { sockets_per_origin: sockets },
    intake: { jobs_max: JOBS_A_SOCKET * sockets },
    limits: {
      global: open,
      platforms: { [PLATFORM]: open },
      default_endpoint: { limit: 1e6, window: '10s' },
      cold_start: 'full',
      latency: '100ms',
    },
    ...(services === undefined
      ? {}
      : {
          kafka: {
            brokers: [services.kafka],
            topics: [{ name: JOBS_TOPIC, platform: PLATFORM }],
            create_topics: true,
            partitions: 4,
          },
          redis: { url: services.redis },
        }),
  }
  return configSchema.parse(input)
}

/**
 * The daemon without pictures and admin page: from the intake through ledger, lanes, permits, fetch, schema, marks and rows to the
 * result. Rows are taken by a sink that acknowledges at once: what ClickHouse costs has a benchmark of its own (rows.ts). With
 * services, jobs come from Kafka, permits and marks from Redis, and results go to Kafka; without, all of that is in memory.
 */
export async function daemon(
  origin: string,
  sockets: number,
  services?: Services,
  { logJobs, series }: Extras = {},
): Promise<Contestant> {
  const config = configOf(sockets, services)
  const topics = topicsOf(config, [PLATFORM])
  const jobsTopic = topics.jobs[0]!.name
  const metrics = createMetrics({ defaults: series !== undefined })
  const log =
    logJobs === undefined
      ? createLog({ level: 'warn', pretty: false, secrets: [] })
      : createLog({ level: 'info', pretty: false, secrets: SECRETS, file: '/dev/null' })
  const secrets = new Secrets()
  const credentials = [{ name: MAIN_CREDENTIAL, value: {} }]
  const configured = { platform, origin, privateOrigin: true, credentials, minIntervalsMs: {} }
  const retry = { attemptsMax: 3, baseMs: 100, ceilingMs: 1_000, inPlaceMaxMs: 5_000, throttledMax: 10 }

  const rows: RowSink = { ...IDLE, write: async () => {} }
  const publisher = services === undefined ? NOWHERE : await openPublisher(config, topics, log)
  const limiter = openLimiter(config, metrics, log)
  const marks = services === undefined ? FORGETFUL : openMarks(config, log)
  const fetcher = new FetchEngine(fetchOptionsOf(config, [configured]), { metrics, log })
  const desk = new PermitDesk(limiter, metrics, log, {
    useWithinMs: config.limits.jitter / 2,
    grantTimeoutMs: grantTimeoutMs(config),
    room: () => fetcher.room(origin),
    credentials: () => upstream.credentials,
  })
  const upstream: Upstream = new Upstream(platform, configured, {
    ...{ desk, fetcher, limiter, metrics, log, secrets, retry, isLate: isPermitLate },
    relay: new AdviceRelay(limiter, log),
    reader: { readJson, sampleOf, retryAfterMs, adviceOf },
  })
  const intake =
    services === undefined
      ? new Intake({ jobsMax: config.intake.jobs_max }, { source: memorySource(jobsTopic), metrics, log })
      : openIntake(config, topics, { file: '-' }, { metrics, log })
  const parking = new Parking(
    {
      ...parkingOptionsOf(config, topics, new Set([PLATFORM])),
      dedicated: new Map([[jobsTopic, PLATFORM]]),
    },
    intake,
    log,
  )
  const pipeline = new Pipeline({
    ...{ marks, parking, retry, metrics, log, secrets },
    pauses: desk,
    upstreams: new Map([[PLATFORM, upstream]]),
    completion: new Completion(
      { publisher, rows, marks, pictures: undefined, metrics },
      {
        writer: { group: 'bench', version: '0' },
        resultsTopic: topics.results,
        deadTopic: topics.dead,
        followUpTopic: () => jobsTopic,
        retryTopics: topics.retry,
      },
    ),
    breaker: new DeadBreaker({ share: 0.5, sample: 100 }),
    logJobs: logJobs ?? 'none',
  })

  const parts = [publisher, limiter, marks, desk, parking]
  for (const part of parts) await part.start()
  intake.hold('between rounds')
  await intake.start({
    onDelivery: (delivery) => pipeline.accept(delivery),
    onFatal: (error) => {
      throw error
    },
  })
  const admin =
    series === undefined
      ? undefined
      : new AdminServer({ host: '127.0.0.1', port: 0 }, { source: sourceOf(), metrics, log })
  if (series !== undefined) fillSeries(metrics, series)
  const url = (await admin?.start())?.url
  return {
    url,
    async round({ durationMs }) {
      const before = pipeline.counts.finished.done
      intake.release('between rounds')
      await sleep(durationMs)
      intake.hold('between rounds')
      while (pipeline.inFlight > 0) await sleep(1)
      if (pipeline.counts.finished.dead > 0) throw new Error('jobs died in a benchmark')
      return pipeline.counts.finished.done - before
    },
    async stop() {
      await admin?.stop()
      await intake.stop()
      for (const part of parts.toReversed()) await part.stop()
      await fetcher.stop()
    },
  }
}

const SECRETS = Array.from({ length: 20 }, (_, index) => `a-secret-of-${index}-and/more`)

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

const IDLE = { healthy: true, start: async () => {}, stop: async () => {} }
const NOWHERE: Publisher = { ...IDLE, publish: async () => {} }
const FORGETFUL: Marks = {
  ...IDLE,
  ended: async () => null,
  end: async (_job, result) => result,
  scrapedBy: async () => null,
  scraped: async () => {},
}
