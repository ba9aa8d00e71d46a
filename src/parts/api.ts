import { randomBytes, randomUUID } from 'node:crypto'
import { Cluster } from 'ioredis'
import { ApiKeys } from '../api/auth/api-keys.ts'
import { Gate } from '../api/auth/gate.ts'
import { JwtVerifier } from '../api/auth/jwt.ts'
import { Answers } from '../api/cache/answers.ts'
import { MemoryShelf } from '../api/cache/memory-shelf.ts'
import { RedisShelf } from '../api/cache/redis-shelf.ts'
import { Cursors } from '../api/cursor.ts'
import { eventsOf } from '../api/events/event.ts'
import type { EventLog, EventSource } from '../api/events/event-log.ts'
import { MemoryLog } from '../api/events/memory-log.ts'
import { RedisLog } from '../api/events/redis-log.ts'
import { ResultsReader } from '../api/events/results-reader.ts'
import { Fairness } from '../api/fairness.ts'
import { ReadinessLook } from '../api/readiness.ts'
import { MemoryNotes, type Notes, RedisNotes } from '../api/scrapes/notes.ts'
import { ScrapeDesk, type ScrapeRequest } from '../api/scrapes/scrape-desk.ts'
import { ApiServer } from '../api/server.ts'
import type { Config } from '../config/schema.ts'
import { messageOf } from '../job/errors.ts'
import type { JobMessage } from '../job/job.ts'
import type { ResultMessage } from '../job/outcome.ts'
import type { Platform } from '../job/platform.ts'
import type { OutRecord, Publisher } from '../job/record.ts'
import type { ObjectStore } from '../job/store.ts'
import { createKafkaClient } from '../kafka/client.ts'
import { watchedRecord } from '../pipeline/messages.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Engine } from '../timeseries/engine.ts'
import { kafkaClientOptionsOf } from './kafka.ts'
import { redisOptionsOf } from './redis.ts'
import { jobTopicOf, type Topics } from './topics.ts'

export interface ApiParts {
  /** Open, and with its schema up to date. */
  readonly engine: Engine
  readonly store: ObjectStore
  /** Started. Without Kafka it has to be the daemon's own. */
  readonly publisher: Publisher
  readonly topics: Topics
  readonly platforms: readonly Platform[]
  readonly metrics: Metrics
  readonly log: Log
  /** How long requests that are under way may go on when it stops; the server's own default is for a daemon that waits for it. */
  readonly stopGraceMs?: number
  /** Notes of jobs without Redis: shared with the daemon in this process, which says in them which have begun. */
  readonly notes?: Notes
}

/** The analytics API as the configuration has it. `start` and `stop` mirror each other. */
export interface Api {
  /** `http://…` without a slash at the end; undefined while it does not listen. */
  readonly url: string | undefined
  /** Without Kafka: what the daemon calls with every result. */
  onResult(result: ResultMessage): void
  start(): Promise<void>
  stop(): Promise<void>
}

const READY_MS_MAX = 3_000

/** Puts the API together. No I/O before `start`. */
export function openApi(config: Config, parts: ApiParts): Api {
  const { api, redis, kafka } = config
  const { engine, store, metrics, log, topics } = parts
  const platforms = new Map(parts.platforms.map((platform) => [platform.name, platform]))
  const normalise = (name: string, creatorId: string) =>
    normalised(platforms.get(name), creatorId) ?? creatorId

  const redisOptions = redis === undefined ? undefined : redisOptionsOf(redis)
  const shared = redisOptions === undefined ? undefined : new RedisLog(redisOptions, log)
  const events: EventLog = shared ?? new MemoryLog()
  const { link } = shared ?? {}
  const keyPrefix = redisOptions?.keyPrefix ?? ''
  const fairness = new Fairness(
    {
      requestsMax: api.rate.requests,
      jobsMax: api.rate.jobs,
      windowMs: api.rate.window,
      queriesMax: api.queries_max,
    },
    link === undefined || link.client instanceof Cluster ? undefined : { client: link.client, keyPrefix },
  )
  const scrapes = new ScrapeDesk({
    notes: link === undefined ? (parts.notes ?? new MemoryNotes()) : new RedisNotes(link, keyPrefix),
    engine,
    publish: (jobs, signal) => publish(parts, jobs, signal),
    objection: (request) => objectionTo(platforms.get(request.platform), request),
  })
  const onResult = async (result: ResultMessage, source?: EventSource) => {
    // The state first: who hears that a job has ended may ask about it at once.
    await scrapes.ended(result)
    await events.append(eventsOf(result, normalise), source)
  }
  const reader =
    kafka === undefined
      ? undefined
      : new ResultsReader(
          {
            brokers: kafka.brokers,
            topic: topics.results,
            // Without Redis every process has to hear everything by itself.
            group: redis === undefined ? `${kafka.group}-api-${randomUUID()}` : `${kafka.group}-api`,
          },
          createKafkaClient(kafkaClientOptionsOf(kafka), log),
          onResult,
          log,
        )
  const answers = new Answers(
    { ttlMs: api.cache.ttl, refreshMs: api.cache.refresh },
    {
      memory: new MemoryShelf(api.cache.bytes_max),
      shared: link === undefined ? undefined : new RedisShelf(link, { keyPrefix, keptMs: 2 * api.cache.ttl }),
      metrics,
      // With Redis another process may be the one that reads: what counts is whether its events come.
      hears: () => events.healthy && (shared !== undefined || (reader?.healthy ?? true)),
    },
  )
  const gate = gateOf(api)
  const readiness = new ReadinessLook(() => readinessOf(engine, events, reader), metrics)
  const server = new ApiServer(
    { host: api.host, port: api.port, corsOrigins: api.cors_origins, stopGraceMs: parts.stopGraceMs },
    {
      gate,
      health: readiness,
      context: {
        ...{ engine, answers, fairness, events, scrapes, store, metrics, log, normalise },
        cursors: new Cursors(api.cursor_secret ?? api.auth.jwt?.secret ?? randomBytes(32)),
        platforms: [...platforms.keys()],
        queryTimeoutMs: api.query_timeout,
        exportTimeoutMs: api.export_timeout,
        exportStallMs: api.export_stall,
        streamClientsMax: api.stream_clients_max,
      },
    },
  )
  const stack = new AsyncDisposableStack()
  let told = Promise.resolve()
  return {
    get url() {
      return server.url
    },
    onResult: (result) => {
      // One after the other: listeners are told in the order in which jobs ended.
      told = told
        .then(() => onResult(result))
        .catch((error: unknown) => log.warn({ err: error }, 'a result could not be told of'))
    },
    start: async () => {
      stack.defer(() => events.stop())
      await events.start()
      const forget = events.subscribe(({ event }) => {
        if (event.kind !== 'job') return
        void answers.scraped(`${event.platform}:${event.creator_id}`)
      })
      stack.defer(() => forget())
      if (reader !== undefined) {
        stack.defer(() => reader.stop())
        await reader.start()
      }
      stack.defer(() => server.stop())
      await server.start()
      stack.defer(() => readiness.stop())
      await readiness.start()
      const { url } = server
      log.info({ url }, 'the analytics API listens')
      if (gate.open)
        log.warn(
          { url },
          'the analytics API asks nobody who they are: it listens on loopback only; set api.auth to open it',
        )
    },
    stop: () => stack.disposeAsync(),
  }
}

function gateOf({ auth }: Config['api']): Gate {
  const { jwt, keys } = auth
  return new Gate({
    jwt:
      jwt === undefined
        ? undefined
        : new JwtVerifier({
            secret: jwt.secret,
            jwksUrl: jwt.jwks_url,
            issuer: jwt.issuer,
            audience: jwt.audience,
            roleClaim: jwt.role_claim,
            clockToleranceMs: jwt.clock_tolerance,
          }),
    keys: Object.keys(keys).length === 0 ? undefined : new ApiKeys(keys),
  })
}

async function readinessOf(engine: Engine, events: EventLog, reader: ResultsReader | undefined) {
  const reasons: string[] = []
  await engine
    .ping(AbortSignal.timeout(READY_MS_MAX))
    .catch(() => reasons.push('the database does not answer'))
  const ready = reasons.length === 0
  // Without its events the API is slower, not wrong: it stays ready.
  if (!events.healthy) reasons.push('Redis does not answer')
  if (reader?.healthy === false) reasons.push('results are not read for the moment')
  return { ready, reasons }
}

async function publish(
  { publisher, topics }: ApiParts,
  jobs: readonly JobMessage[],
  signal: AbortSignal,
): Promise<void> {
  const byTopic = new Map<string, OutRecord[]>()
  for (const job of jobs) {
    const topic = jobTopicOf(topics, job.platform)
    byTopic.set(topic, [...(byTopic.get(topic) ?? []), watchedRecord(job)])
  }
  await Promise.all([...byTopic].map(([topic, records]) => publisher.publish(topic, records, signal)))
}

/** Undefined when the platform takes no such id. */
function normalised(platform: Platform | undefined, creatorId: string): string | undefined {
  if (platform?.creatorId === undefined) return creatorId
  try {
    return platform.creatorId(creatorId)
  } catch {
    return undefined
  }
}

function objectionTo(platform: Platform | undefined, { job_type, creator_id }: ScrapeRequest): string | null {
  if (platform === undefined) return 'no such platform'
  if (!Object.hasOwn(platform.jobs, job_type))
    return `${platform.name} offers ${Object.keys(platform.jobs).join(', ')}`
  try {
    platform.creatorId?.(creator_id)
    return null
  } catch (error) {
    return messageOf(error, 300)
  }
}
