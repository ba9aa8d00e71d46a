import assert from 'node:assert/strict'
import { z } from 'zod'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { AttemptError, MillraceError } from '../../src/job/errors.ts'
import type { Fetcher, Reply } from '../../src/job/fetch.ts'
import { type Marks, scrapeMarkOf } from '../../src/job/mark.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import type { Advice, Demand, Limiter, LimitTarget } from '../../src/job/permit.ts'
import type { PictureStage } from '../../src/job/picture.ts'
import type { Platform } from '../../src/job/platform.ts'
import type { OutRecord, Publisher, SourceRecord } from '../../src/job/record.ts'
import { type JobRows, type RowSink, RowsRejectedError } from '../../src/job/row.ts'
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

/** What happened at the ports, in order: `rows`, `publish <topic>`, `picture`, `settle`. */
type Trail = string[]

export class Bench {
  readonly trail: Trail = []
  readonly published: { topic: string; record: OutRecord }[] = []
  readonly written: JobRows[] = []
  /** What was told of jobs that somebody watches. */
  readonly progress: string[] = []
  readonly learnt: (LimitTarget & Advice)[] = []
  reply: (url: URL) => Reply | Promise<Reply> = () => json(200, { count: 7 })
  refuseRows = false
  /** The partition has come far ahead of its oldest job. */
  stretched = false
  recordBytesMax = Number.POSITIVE_INFINITY
  refusedTopic: string | undefined
  failOnce: (() => never) | undefined
  readonly metrics = createMetrics()
  readonly secrets = new Secrets()
  readonly desk: PermitDesk
  readonly pipeline: Pipeline
  readonly #lost = new AbortController()
  #offset = 0

  /** What outlives a process; of two benches with the same store the second is the daemon after a crash. */
  readonly store: Map<string, string>
  /** So many calls of the ports are answered; the next ones hang, as for a process that is gone. */
  callsLeft = Number.POSITIVE_INFINITY
  readonly hung = Promise.withResolvers<void>()

  constructor(
    platform: Platform = COUNTER,
    options: {
      attemptsMax?: number
      deadSample?: number
      minIntervalsMs?: Record<string, number>
      waitingMax?: number
      store?: Map<string, string>
    } = {},
  ) {
    const store = options.store ?? new Map<string, string>()
    this.store = store
    const marks: Marks = {
      ended: async (name) => {
        const fail = this.failOnce
        this.failOnce = undefined
        fail?.()
        await this.#call()
        const known = store.get(name)
        return known === undefined ? null : Buffer.from(known)
      },
      end: async (name, result) => {
        await this.#call('mark')
        const known = store.get(name)
        if (known !== undefined) return Buffer.from(known)
        store.set(name, result.toString())
        return result
      },
      scrapedBy: async (scraped) => store.get(scrapeMarkOf(scraped)) ?? null,
      scraped: async (scraped, name) => void store.set(scrapeMarkOf(scraped), name),
      start: async () => {},
      stop: async () => {},
    }
    const log = createLog({ level: 'silent', pretty: false, secrets: [] })
    const retry = {
      attemptsMax: options.attemptsMax ?? 3,
      baseMs: 2,
      ceilingMs: 4,
      inPlaceMaxMs: 50,
      throttledMax: 2,
    }
    const limiter: Limiter = {
      healthy: true,
      decide: async ({ wants }: Demand) =>
        wants.map((want) => ({
          endpoint: want.endpoint,
          granted: want.count,
          grant: 'g',
          waitMs: 0,
          level: null,
          gatherMs: 1,
        })),
      learn: async (target, advice) => void this.learnt.push({ ...target, ...advice }),
      levels: async () => [],
      start: async () => {},
      stop: async () => {},
    }
    const fetcher: Fetcher = {
      fetch: async ({ url }, permit, { onArrived }) => {
        assert.ok(permit.spend(performance.now()))
        onArrived?.()
        return this.reply(url)
      },
      room: () => 100,
    }
    const rows: RowSink = {
      healthy: true,
      write: async (jobRows) => {
        await this.#call('rows')
        if (this.refuseRows && jobRows.rows.some((row) => row.table === 'points'))
          throw new RowsRejectedError('no such value')
        this.written.push(jobRows)
      },
      start: async () => {},
      stop: async () => {},
    }
    const pictures: PictureStage = {
      healthy: true,
      process: async (request) => {
        await this.#call('picture')
        if (request.url.includes('bad')) return { status: 'rejected', ...request, why: 'not a picture' }
        const variant = { variant: 'full', key: 'pictures/ab/abc/full.jpg', width: 8, height: 8, bytes: 99 }
        return {
          status: 'stored',
          ...request,
          sha256: 'abc',
          thumbhash: '',
          variants: [variant],
          known: false,
        }
      },
      start: async () => {},
      stop: async () => {},
    }
    const publisher: Publisher = {
      healthy: true,
      publish: async (topic, records) => {
        const isTooLarge = records.some((record) => sizeOf(record) > this.recordBytesMax)
        if (isTooLarge || topic === this.refusedTopic) {
          throw new MillraceError('RECORD_REFUSED', 'too large')
        }
        await this.#call(`publish ${topic}`)
        for (const record of records) this.published.push({ topic, record })
      },
      start: async () => {},
      stop: async () => {},
    }
    this.desk = new PermitDesk(limiter, this.metrics, log, {
      useWithinMs: 600_000,
      room: () => 100,
      gapMs: 1,
      sweepMs: 5,
    })
    const completion = new Completion(
      { publisher, rows, marks, pictures, metrics: this.metrics },
      {
        writer: { group: 'g', version: '1' },
        resultsTopic: 'results',
        deadTopic: 'dead',
        followUpTopic: () => 'jobs',
        retryTopics: [
          { topic: 'retry.30s', delayMs: 30_000 },
          { topic: 'retry.5m', delayMs: 300_000 },
        ],
      },
    )
    const upstream = new Upstream(
      platform,
      {
        origin: 'http://upstream.test/prefix/',
        credentials: [{ name: 'main', value: {} }],
        minIntervalsMs: options.minIntervalsMs ?? {},
      },
      {
        desk: this.desk,
        fetcher,
        // Its clock stands still: what ends later than it was told is news.
        relay: new AdviceRelay(limiter, log, () => 0),
        limiter,
        log,
        reader: {
          readJson: (body) => {
            try {
              return JSON.parse(body.toString())
            } catch {
              throw new AttemptError('bad_response', 'not JSON')
            }
          },
          sampleOf: (body) => body.toString(),
          retryAfterMs: (headers) =>
            headers['retry-after'] === undefined ? undefined : Number(headers['retry-after']) * 1000,
          adviceOf,
        },
        secrets: this.secrets,
        metrics: this.metrics,
        retry,
        isLate: () => false,
      },
    )
    this.pipeline = new Pipeline({
      upstreams: new Map([[platform.name, upstream]]),
      completion,
      marks,
      parking: new Parking(
        {
          parked: new Map([
            [platform.name, 'parked'],
            ['another', 'parked.another'],
          ]),
          live: new Set([platform.name, 'another']),
          dedicated: new Map(),
          shared: ['jobs'],
          jobsMax: options.waitingMax ?? 1_000,
          bytesMax: 1_000_000,
          parkedMax: 1_000,
        },
        { holdTopic: () => {}, releaseTopic: () => {}, backlog: () => 0 },
        log,
      ),
      pauses: this.desk,
      breaker: new DeadBreaker({ share: 0.5, sample: options.deadSample ?? 100 }),
      retry,
      metrics: this.metrics,
      log,
      secrets: this.secrets,
      logJobs: 'none',
      progress: {
        begun: (id) => this.progress.push(`begun ${id}`),
        waits: (id) => this.progress.push(`waits ${id}`),
      },
    })
  }

  async #call(name?: string): Promise<void> {
    if (--this.callsLeft < 0) {
      this.hung.resolve()
      await new Promise(() => {})
    }
    if (name !== undefined) this.trail.push(name)
  }

  /** Delivers a record and resolves when it is settled. */
  deliver(value: unknown, headers: SourceRecord['headers'] = {}, lost = this.#lost.signal): Promise<void> {
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))
    const record: SourceRecord = {
      topic: 'jobs',
      partition: 0,
      offset: this.#offset++,
      timestampMs: 1_700_000_000_000,
      key: Buffer.from('k'),
      value: bytes,
      headers,
    }
    const holdsUp = () => this.stretched
    return new Promise((resolve) => {
      const settle = () => {
        this.trail.push('settle')
        resolve()
      }
      this.pipeline.accept({
        record,
        bytes: bytes.length,
        settle,
        lost,
        get holdsUp() {
          return holdsUp()
        },
      })
    })
  }

  /** Resolves when no delivery is being worked on. */
  async idle(): Promise<void> {
    while (this.pipeline.inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
  }

  lose(): void {
    this.#lost.abort(new Error('lost'))
  }

  results(): ResultMessage[] {
    return this.published
      .filter(({ topic }) => topic === 'results')
      .map(({ record }) => JSON.parse(String(record.value)) as ResultMessage)
  }
}

export function sizeOf({ key, value, headers }: OutRecord): number {
  const parts = [key, value, ...Object.values(headers).flat()]
  return parts.reduce((sum, part) => sum + (part?.length ?? 0), 0)
}

export function json(status: number, body: unknown, headers: Reply['headers'] = {}): Reply {
  return {
    status,
    headers,
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    durationMs: 1,
  }
}

export const COUNTER = {
  name: 'counter',
  origin: 'http://upstream.test',
  credentials: z.object({}),
  endpoints: { count: { path: '/count/:creator', response: z.object({ count: z.number() }) } },
  creatorId: (id: string) => {
    if (id.includes(' ')) throw new Error('a creator id has no blanks')
    return id.toLowerCase()
  },
  jobs: {
    profile: {
      params: z.object({ pictures: z.array(z.string()).default([]), pages: z.number().default(0) }),
      run: async (job, { get }) => {
        const { pictures, pages } = job.params as { pictures: string[]; pages: number }
        const { count } = (await get('count', { path: { creator: job.creatorId } })) as { count: number }
        return {
          rows: [{ table: 'points', metric: 'followers', value: count }],
          pictures: pictures.map((url) => ({ url, subject: 'avatar' })),
          followUps: Array.from({ length: pages }, () => ({ job_type: 'profile' })),
          data: { count },
        }
      },
    },
    broken: {
      params: z.object({}),
      run: async () => {
        throw new TypeError('a mistake in the adapter')
      },
    },
  },
} satisfies Platform

export const JOB = {
  platform: 'counter',
  creator_id: 'Ada',
  job_type: 'profile',
  expires_at: '2999-01-01T00:00:00Z',
}
