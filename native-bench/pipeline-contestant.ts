/**
 * The daemon's engine as a contestant: records from memory through parsing, lanes, permits of the stacked limiter (in memory,
 * wide open), fetch, schema, rows and result. Only the sinks are stand-ins that acknowledge at once: what ClickHouse and Kafka
 * cost has benchmarks of its own (rows.ts).
 */
import { z } from 'zod'
import { FetchEngine } from '../src/fetch/engine.ts'
import { isPermitLate } from '../src/fetch/errors.ts'
import { readJson, sampleOf } from '../src/fetch/json.ts'
import { adviceOf } from '../src/fetch/rate-headers.ts'
import { retryAfterMs } from '../src/fetch/retry-after.ts'
import type { Marks } from '../src/job/mark.ts'
import type { Publisher } from '../src/job/record.ts'
import type { RowSink } from '../src/job/row.ts'
import { MemoryLimiter } from '../src/limiter/memory-limiter.ts'
import { AdviceRelay } from '../src/pipeline/advice-relay.ts'
import { Completion } from '../src/pipeline/completion.ts'
import { DeadBreaker } from '../src/pipeline/dead-breaker.ts'
import { Parking } from '../src/pipeline/parking.ts'
import { PermitDesk } from '../src/pipeline/permit-desk.ts'
import { Pipeline } from '../src/pipeline/pipeline.ts'
import { Upstream } from '../src/pipeline/upstream.ts'
import { definePlatform } from '../src/platforms/define.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import type { Contestant } from './contestant.ts'

const OPEN = { rate: 1_000_000, burst: 1_000_000 }
/** Jobs in memory for each request under way: a queue, as the intake keeps one. */
const QUEUE = 4

export function pipeline(origin: string, path: string, sockets: number): Contestant {
  const platform = definePlatform({
    name: 'bench',
    origin,
    credentials: z.object({}),
    endpoints: {
      channel: {
        path,
        response: z.object({ kind: z.string(), items: z.array(z.looseObject({ id: z.string() })) }),
      },
    },
    jobs: {
      profile: {
        params: z.object({}),
        async run(job, { get }) {
          const { items } = await get('channel', { query: { id: job.creatorId, part: 'statistics' } })
          return {
            rows: [{ table: 'points', metric: 'items', value: items.length }],
            data: { items: items.length },
          }
        },
      },
    },
  })
  const metrics = createMetrics()
  const log = createLog({ level: 'warn', pretty: false, secrets: [] })
  const stub = { healthy: true, start: async () => {}, stop: async () => {} }
  const rows: RowSink = { ...stub, write: async () => {} }
  const publisher: Publisher = { ...stub, publish: async () => {} }
  const fetcher = new FetchEngine(
    { platformOrigins: [{ origin, platform: 'bench', private: true }], socketsPerOrigin: sockets },
    { metrics, log },
  )
  const limiter = new MemoryLimiter({
    coldStart: 'full',
    metrics,
    plan: {
      global: OPEN,
      platforms: { bench: OPEN },
      endpoints: {},
      defaultEndpoint: { limit: 1_000_000, windowMs: 1_000 },
      arrivalJitterMs: 500,
      grantTimeoutMs: 10_000,
    },
  })
  const desk = new PermitDesk(limiter, metrics, log, { useWithinMs: 500, room: () => fetcher.room(origin) })
  const retry = { attemptsMax: 3, baseMs: 100, ceilingMs: 1_000, inPlaceMaxMs: 5_000, throttledMax: 10 }
  const reader = { readJson, sampleOf, retryAfterMs, adviceOf }
  const relay = new AdviceRelay(limiter, log)
  const upstream = new Upstream(
    platform,
    { origin, credentials: {}, minIntervalsMs: {} },
    { desk, fetcher, relay, reader, metrics, retry, isLate: isPermitLate },
  )
  // Forgets at once: what Redis takes for it is not the pipeline's.
  const marks: Marks = {
    ended: async () => null,
    end: async (_job, result) => result,
    scrapedBy: async () => null,
    scraped: async () => {},
    start: async () => {},
    stop: async () => {},
  }
  const gate = { holdTopic: () => {}, releaseTopic: () => {}, backlog: () => 0 }
  const bounds = { jobsMax: 1_000_000, bytesMax: 1_000_000_000, parkedMax: 1_000_000 }
  const parking = new Parking(
    {
      parked: new Map([['bench', 'parked']]),
      live: new Set(['bench']),
      dedicated: new Map(),
      shared: [],
      ...bounds,
    },
    gate,
    log,
  )
  const engine = new Pipeline({
    upstreams: new Map([['bench', upstream]]),
    completion: new Completion(
      { publisher, rows, marks, pictures: undefined, metrics },
      {
        writer: { group: 'bench', version: '0' },
        resultsTopic: 'results',
        deadTopic: 'dead',
        followUpTopic: () => 'jobs',
        retryTopics: [{ topic: 'retry', delayMs: 1_000 }],
      },
    ),
    marks,
    parking,
    desk,
    breaker: new DeadBreaker({ share: 0.5, sample: 100 }),
    retry,
    metrics,
    log,
    logJobs: 'none',
  })
  const { signal: lost } = new AbortController()
  let offset = 0
  const deliver = () =>
    new Promise<void>((settle) => {
      const creator = `creator-${offset}`
      const value = Buffer.from(
        JSON.stringify({ platform: 'bench', creator_id: creator, job_type: 'profile' }),
      )
      const record = {
        topic: 'jobs',
        partition: 0,
        offset: offset++,
        timestampMs: Date.now(),
        key: null,
        value,
        headers: {},
      }
      engine.accept({ record, bytes: 0, settle, lost, holdsUp: false })
    })
  return {
    name: 'whole pipeline',
    async round({ durationMs, concurrency }) {
      const endMs = performance.now() + durationMs
      let jobs = 0
      const producer = async () => {
        while (performance.now() < endMs) {
          await deliver()
          jobs++
        }
      }
      await Promise.all(Array.from({ length: concurrency * QUEUE }, producer))
      if (engine.counts.finished.dead > 0) throw new Error('jobs died in a benchmark')
      return jobs
    },
    async stop() {
      await desk.stop()
      await fetcher.stop()
    },
  }
}
