import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { AttemptError, MillraceError } from '../../src/job/errors.ts'
import type { Fetcher, Reply } from '../../src/job/fetch.ts'
import { HEADERS } from '../../src/job/job.ts'
import { type Marks, scrapeMarkOf } from '../../src/job/mark.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import type { Advice, Demand, Limiter, LimitTarget } from '../../src/job/permit.ts'
import type { PictureStage } from '../../src/job/picture.ts'
import type { CallContext, Platform } from '../../src/job/platform.ts'
import { headerText, type OutRecord, type Publisher, type SourceRecord } from '../../src/job/record.ts'
import { type JobRows, type RowSink, RowsRejectedError } from '../../src/job/row.ts'
import { AdviceRelay } from '../../src/pipeline/advice-relay.ts'
import { Completion } from '../../src/pipeline/completion.ts'
import { DeadBreaker } from '../../src/pipeline/dead-breaker.ts'
import { Parking } from '../../src/pipeline/parking.ts'
import { PermitDesk } from '../../src/pipeline/permit-desk.ts'
import { Pipeline } from '../../src/pipeline/pipeline.ts'
import { Upstream } from '../../src/pipeline/upstream.ts'
import { linkQuery } from '../../src/platforms/reply.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { Secrets } from '../../src/telemetry/secrets.ts'

/** What happened at the ports, in order: `rows`, `publish <topic>`, `picture`, `settle`. */
type Trail = string[]

class Bench {
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
      useWithinMs: 1000,
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
        relay: new AdviceRelay(limiter, log),
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

function sizeOf({ key, value, headers }: OutRecord): number {
  const parts = [key, value, ...Object.values(headers).flat()]
  return parts.reduce((sum, part) => sum + (part?.length ?? 0), 0)
}

function json(status: number, body: unknown, headers: Reply['headers'] = {}): Reply {
  return {
    status,
    headers,
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    durationMs: 1,
  }
}

const COUNTER = {
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

const JOB = {
  platform: 'counter',
  creator_id: 'Ada',
  job_type: 'profile',
  expires_at: '2999-01-01T00:00:00Z',
}

test('stores pictures, then rows, then follow-ups, then the result, and only then settles', async () => {
  const bench = new Bench()
  await bench.deliver({
    ...JOB,
    campaign: 'x',
    params: { pictures: ['http://p/1', 'http://p/bad'], pages: 2 },
  })
  assert.deepEqual(bench.trail, [
    ...['picture', 'picture', 'rows', 'publish jobs', 'mark', 'publish results', 'settle'],
  ])
  const [result] = bench.results()
  assert.equal(result?.status, 'done')
  assert.equal(result?.creator_id, 'Ada')
  assert.equal(result?.attempts, 1)
  assert.deepEqual(result?.pictures, ['pictures/ab/abc/full.jpg'])
  assert.equal(result?.pictures_rejected[0]?.reason, 'picture_rejected')
  assert.deepEqual(result?.data, { count: 7 })
  const [rows] = bench.written
  assert.equal(rows?.creatorId, 'ada')
  assert.equal(rows?.tsMs, 1_700_000_000_000)
  assert.deepEqual(
    rows?.rows.map((row) => row.table),
    ['points', 'pictures', 'jobs'],
  )
})

test("follow-ups carry ids and times derived from their parent's", async () => {
  const bench = new Bench()
  const job = { ...JOB, job_id: 'parent', campaign: 'x', params: { pages: 2 } }
  await bench.deliver(job)
  // Stored all and crashed before the mark.
  bench.store.clear()
  await bench.deliver(job)
  const followUps = bench.published
    .filter(({ topic }) => topic === 'jobs')
    .map(({ record }) => JSON.parse(String(record.value)))
  assert.deepEqual(
    followUps.map(({ job_id }) => job_id),
    ['parent/0', 'parent/1', 'parent/0', 'parent/1'],
  )
  assert.equal(followUps[0].requested_at, '2023-11-14T22:13:20.000Z')
  assert.equal(followUps[0].campaign, 'x')
})

test('what its producer traces goes along with all that becomes of a record', async () => {
  const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' }
  const headers = Object.fromEntries(Object.entries(trace).map(([name, text]) => [name, Buffer.from(text)]))
  const bench = new Bench(COUNTER, { waitingMax: 1 })
  await bench.deliver({ ...JOB, job_id: 'parent', params: { pages: 2 } }, headers)
  // Ended before: its result is sent again.
  await bench.deliver({ ...JOB, job_id: 'parent', params: { pages: 2 } }, headers)
  await bench.deliver({ ...JOB, job_type: 'unheard' }, headers)
  await bench.deliver(Buffer.from('no job'), headers)
  bench.reply = () => json(429, {}, { 'retry-after': '100' })
  await bench.deliver(JOB, headers)
  bench.reply = () => json(200, { count: 7 })
  bench.desk.pause('counter', 'test')
  const waiting = bench.deliver(JOB, headers)
  await bench.deliver(JOB, headers)
  bench.desk.resume('counter')
  await waiting
  assert.deepEqual(
    bench.published.map(({ topic }) => topic).sort(),
    ['dead', 'dead', 'jobs', 'jobs', 'parked', ...Array(5).fill('results'), 'retry.5m'].sort(),
  )
  for (const { topic, record } of bench.published) {
    for (const [name, text] of Object.entries(trace))
      assert.equal(headerText(record.headers, name), text, topic)
  }

  // One that no trace has does not make results too large for their topic.
  const other = new Bench()
  await other.deliver(JOB, { ...headers, tracestate: Buffer.alloc(513) })
  assert.deepEqual(Object.keys(other.published[0]!.record.headers), ['traceparent'])
})

test('ids of follow-ups of follow-ups stay short and differ', async () => {
  const bench = new Bench()
  for (const first of ['a', 'b']) {
    let id = `${first}${'x'.repeat(190)}`
    for (let depth = 0; depth < 60; depth++) {
      await bench.deliver({ ...JOB, job_id: id, params: { pages: 1 } })
      id = JSON.parse(String(bench.published.findLast(({ topic }) => topic === 'jobs')?.record.value)).job_id
      assert.ok(id.length <= 200, id)
    }
  }
  const ids = bench.published
    .filter(({ topic }) => topic === 'jobs')
    .map(({ record }) => String(record.value))
  assert.equal(new Set(ids).size, 120)
})

test('of a job that somebody watches it is told when it begins and when it waits again, of no other', async () => {
  const bench = new Bench()
  const watched = { [HEADERS.watched]: Buffer.from('1') }
  await bench.deliver({ ...JOB, job_id: 'of nobody' })
  await bench.deliver({ ...JOB, job_id: 'wrong', creator_id: 'a b' }, watched)
  assert.deepEqual(bench.progress, [], 'what makes no call never begins')
  bench.reply = () => json(503, {}, { 'retry-after': '3600' })
  await bench.deliver({ ...JOB, job_id: 'one' }, watched)
  assert.deepEqual(bench.progress, ['begun one', 'waits one'])
  // Whoever tries it next knows that it is watched.
  const retry = bench.published.at(-1)?.record
  assert.equal(headerText(retry?.headers ?? {}, HEADERS.watched), '1')
  bench.reply = () => json(200, { count: 7 })
  await bench.deliver({ ...JOB, job_id: 'one' }, retry?.headers)
  assert.deepEqual(bench.progress.slice(2), ['begun one'], 'its result says the rest')
})

/** What must be the same in every result of a job. */
function said({ replayed: _replayed, ...result }: ResultMessage) {
  return result
}

test('a job that is delivered again after it has ended is not fetched again: the same result is sent, marked', async () => {
  const bench = new Bench()
  let calls = 0
  bench.reply = () => json(200, { count: ++calls })
  await bench.deliver({ ...JOB, job_id: 'one' })
  bench.trail.length = 0
  await bench.deliver({ ...JOB, job_id: 'one' })
  assert.equal(calls, 1)
  assert.deepEqual(bench.trail, ['publish results', 'settle'])
  const [first, second] = bench.results()
  assert.deepEqual([first?.replayed, second?.replayed], [false, true])
  assert.deepEqual(said(second!), said(first!))
  await bench.idle()
  const replayed = await bench.metrics.jobs_replayed_total.get()
  assert.deepEqual(
    replayed.values.map(({ labels, value }) => [labels.platform, value]),
    [['counter', 1]],
  )
  assert.equal(bench.pipeline.counts.finished.done, 1)
})

for (const [what, other] of [
  ['another creator', { creator_id: 'Bob' }],
  ['another logical time', { requested_at: '2024-01-01T00:00:00Z' }],
] as const) {
  test(`the same id for ${what} is another job`, async () => {
    const bench = new Bench()
    await bench.deliver({ ...JOB, job_id: 'one' })
    await bench.deliver({ ...JOB, job_id: 'one', ...other })
    assert.deepEqual(
      bench.results().map(({ replayed }) => replayed),
      [false, false],
    )
  })
}

test('a dead letter that was sent back is done anew, once', async () => {
  const bench = new Bench()
  bench.reply = () => json(404, {})
  await bench.deliver({ ...JOB, job_id: 'one' })
  bench.reply = () => json(200, { count: 7 })
  const replay = {
    [HEADERS.replayOf]: Buffer.from('0-0'),
    [HEADERS.replayedAt]: Buffer.from('1700000000000'),
  }
  await bench.deliver({ ...JOB, job_id: 'one' }, replay)
  await bench.deliver({ ...JOB, job_id: 'one' }, replay)
  assert.deepEqual(
    bench.results().map(({ status, replayed }) => [status, replayed]),
    [
      ['dead', false],
      ['done', false],
      ['done', true],
    ],
  )
})

test('a dead letter that was no job and is sent back as it was is a dead letter again, once', async () => {
  const bench = new Bench()
  await bench.deliver(Buffer.from('no job'))
  const [letter] = bench.published
  assert.equal(letter?.topic, 'dead')
  const replay = { ...letter.record.headers, [HEADERS.replayOf]: Buffer.from('0-0') }
  await bench.deliver(Buffer.from('no job'), replay)
  await bench.deliver(Buffer.from('no job'), replay)
  assert.equal(bench.published.filter(({ topic }) => topic === 'dead').length, 2)
  assert.deepEqual(
    bench.results().map(({ replayed }) => replayed),
    [false, false, true],
  )
})

test('wherever a daemon dies, the job’s results are all the same, and all that follows from it is stored', async () => {
  const job = { ...JOB, job_id: 'one', params: { pictures: ['http://p/1'], pages: 1 } }
  for (const [reply, value] of [
    [json(200, { count: 0 }), job],
    [json(404, {}), job],
    [json(500, {}), Buffer.from('no job')],
  ] as const) {
    let calls = 0
    const counting = () => (reply.status === 200 ? json(200, { count: ++calls }) : reply)
    let finished = 0
    for (let callsLeft = 0; finished === 0; callsLeft++) {
      const first = new Bench()
      first.reply = counting
      first.callsLeft = callsLeft
      const settled = first.deliver(value).then(() => finished++)
      await Promise.race([settled, first.hung.promise])
      const second = new Bench(COUNTER, { store: first.store })
      second.reply = counting
      await second.deliver(value)
      const results = [...first.results(), ...second.results()]
      assert.ok(results.length > 0)
      for (const result of results)
        assert.deepEqual(said(result), said(results[0]!), `after ${callsLeft} calls`)
      const written = [...first.written, ...second.written].map(({ rows }) => rows.at(-1))
      assert.ok(written.length > 0 || value !== job)
      const published = [...first.published, ...second.published].map(({ topic }) => topic)
      assert.ok(published.includes(reply.status === 200 ? 'jobs' : 'dead'), `after ${callsLeft} calls`)
    }
  }
})

test('jobs that their platform has no room for are parked: byte for byte, with their first place and their age', async () => {
  const bench = new Bench(COUNTER, { waitingMax: 2 })
  bench.desk.pause('counter', 'test')
  const waiting = [bench.deliver(JOB), bench.deliver(JOB)]
  const attempts = { [HEADERS.attempts]: Buffer.from('2'), [HEADERS.dueAt]: Buffer.from('1') }
  await bench.deliver({ ...JOB, campaign: 'x' }, { mine: Buffer.from([1, 2]), ...attempts })
  const [parked] = bench.published
  assert.equal(parked?.topic, 'parked')
  assert.equal(String(parked?.record.value), JSON.stringify({ ...JOB, campaign: 'x' }))
  const { headers } = parked!.record
  assert.deepEqual(headers.mine, Buffer.from([1, 2]))
  assert.equal(headerText(headers, HEADERS.originalOffset), '2')
  assert.equal(headerText(headers, HEADERS.attempts), '2')
  assert.equal(headerText(headers, HEADERS.dueAt), undefined)
  assert.ok(Number(headerText(headers, HEADERS.parkedAt)) > Date.now() - 60_000)
  assert.deepEqual(bench.trail, ['publish parked', 'settle'])
  bench.desk.resume('counter')
  await Promise.all(waiting)
  assert.equal(bench.pipeline.counts.consumed, 2)
  assert.equal(bench.results().length, 2)
})

test('jobs that wait where their partition may soon go no further are parked too, unless their topic does not take them', async (t) => {
  const bench = new Bench(COUNTER, { waitingMax: 1 })
  bench.desk.start()
  t.after(() => bench.desk.stop())
  bench.desk.pause('counter', 'test')
  const oldest = bench.deliver({ ...JOB, job_id: 'oldest' })
  await bench.deliver({ ...JOB, job_id: 'next' })
  await new Promise((resolve) => setTimeout(resolve, 30))
  assert.equal(bench.published.length, 1, 'nobody has to go yet')
  bench.stretched = true
  await oldest
  assert.deepEqual(
    bench.published.map(({ topic, record }) => [topic, JSON.parse(String(record.value)).job_id]),
    [
      ['parked', 'next'],
      ['parked', 'oldest'],
    ],
  )
  assert.deepEqual(bench.results(), [])

  const stays = new Bench(COUNTER, { waitingMax: 1 })
  stays.desk.start()
  t.after(() => stays.desk.stop())
  stays.refusedTopic = 'parked'
  stays.stretched = true
  stays.desk.pause('counter', 'test')
  const waiting = [stays.deliver(JOB), stays.deliver(JOB)]
  await new Promise((resolve) => setTimeout(resolve, 30))
  stays.desk.resume('counter')
  await Promise.all(waiting)
  assert.equal(stays.results().length, 2)
})

test('a job that no topic takes to be put aside or off is done now, or dead: it stops nothing', async () => {
  const bench = new Bench(COUNTER, { waitingMax: 1 })
  bench.refusedTopic = 'parked'
  bench.desk.pause('counter', 'test')
  const waiting = [bench.deliver(JOB), bench.deliver(JOB)]
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(bench.published, [])
  bench.desk.resume('counter')
  await Promise.all(waiting)
  assert.deepEqual(
    bench.results().map(({ status }) => status),
    ['done', 'done'],
  )
  const put = new Bench()
  put.refusedTopic = 'retry.5m'
  put.reply = () => json(429, {}, { 'retry-after': '100' })
  await put.deliver(JOB)
  const last = put.results().at(-1)
  assert.deepEqual([last?.status, last?.reason], ['dead', 'rate_limited'])
  assert.match(last?.message ?? '', /too large/)
})

test('a call that goes on after its job has ended, and is cut off, takes nobody’s place for good', async () => {
  const both: Platform = {
    ...COUNTER,
    jobs: {
      both: {
        params: z.object({}),
        run: async (_job, { get }) => {
          const of = (creator: string) => get('count', { path: { creator } } as never)
          await Promise.all([of('gone'), of('failing')])
          return {}
        },
      },
    },
  }
  const bench = new Bench(both, { waitingMax: 1 })
  const failed = Promise.withResolvers<void>()
  bench.reply = async ({ pathname }) => {
    if (pathname.endsWith('/gone')) return json(404, {})
    await failed.promise
    return json(503, {}, { 'retry-after': '0.05' })
  }
  const lost = new AbortController()
  await bench.deliver({ ...JOB, job_type: 'both' }, {}, lost.signal)
  failed.resolve()
  const retried = async () => (await bench.metrics.retries_total.get()).values.length > 0
  while (!(await retried())) await new Promise((resolve) => setImmediate(resolve))
  lost.abort(new Error('lost'))
  await new Promise((resolve) => setImmediate(resolve))
  await bench.deliver({ ...JOB, job_type: 'both' })
  assert.equal(bench.published.filter(({ topic }) => topic === 'parked').length, 0)
})

test('what no part expects is tried again, and leaves no record unfinished', async () => {
  const bench = new Bench()
  let failures = 0
  bench.failOnce = () => {
    failures++
    throw new TypeError('a mark that nobody can read')
  }
  await bench.deliver(JOB)
  assert.equal(failures, 1)
  assert.equal(bench.results()[0]?.status, 'done')
})

test('a creator that was scraped within min_interval is skipped without a call, unless by the very same job', async () => {
  const options = { minIntervalsMs: { profile: 60_000 } }
  const bench = new Bench(COUNTER, options)
  let calls = 0
  bench.reply = () => json(200, { count: ++calls })
  await bench.deliver({ ...JOB, job_id: 'one' })
  await bench.deliver({ ...JOB, job_id: 'two', creator_id: 'ADA' })
  await bench.deliver({ ...JOB, job_id: 'three', creator_id: 'Bob' })
  assert.deepEqual(
    bench.results().map(({ status, reason }) => [status, reason]),
    [
      ['done', null],
      ['skipped', 'fresh'],
      ['done', null],
    ],
  )
  assert.equal(calls, 2)
  // Died after its rows, before it was marked as ended.
  for (const mark of [...bench.store.keys()].filter((name) => name.includes('"one"')))
    bench.store.delete(mark)
  await bench.deliver({ ...JOB, job_id: 'one' })
  assert.equal(bench.results().at(-1)?.status, 'done')
})

test('a malformed record is a dead letter with its bytes untouched, and has a result', async () => {
  const bench = new Bench()
  const bytes = Buffer.from([0x7b, 0xff, 0x00])
  await bench.deliver(bytes, { mine: Buffer.from([1, 2]) })
  const dead = bench.published.find(({ topic }) => topic === 'dead')?.record
  assert.deepEqual(dead?.value, bytes)
  assert.deepEqual(dead?.headers.mine, Buffer.from([1, 2]))
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.reason), 'malformed')
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.originalOffset), '0')
  assert.equal(bench.results()[0]?.status, 'dead')
})

for (const [name, job, reason] of [
  ['an unknown platform', { ...JOB, platform: 'myspace' }, 'unknown_platform'],
  ['a prototype name for a platform', { ...JOB, platform: '__proto__' }, 'unknown_platform'],
  ['an unknown job type', { ...JOB, job_type: 'toString' }, 'unknown_job_type'],
  ['params of the wrong type', { ...JOB, params: { pages: 'many' } }, 'invalid_params'],
  ['a creator id that cannot be one', { ...JOB, creator_id: 'a b' }, 'invalid_params'],
  ['a job past its time', { ...JOB, expires_at: '2001-01-01T00:00:00Z' }, 'expired'],
  ['an adapter that fails', { ...JOB, job_type: 'broken' }, 'internal'],
] as const) {
  test(`${name} is a dead letter: ${reason}`, async () => {
    const bench = new Bench()
    await bench.deliver(job)
    const [result] = bench.results()
    assert.equal(result?.status, 'dead')
    assert.equal(result?.reason, reason)
    const counted = await bench.metrics.dead_letters_total.get()
    assert.equal(counted.values[0]?.labels.reason, reason)
  })
}

test('a creator that is not there is marked as gone', async () => {
  const bench = new Bench()
  bench.reply = () => json(404, {})
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.reason, 'not_found')
  const gone = bench.written[0]?.rows.find((row) => row.table === 'creators')
  assert.ok(gone?.table === 'creators' && gone.gone)
})

test('errors of the upstream are tried again in place, under new permits', async () => {
  const bench = new Bench()
  let calls = 0
  bench.reply = () => (++calls < 3 ? json(500, '') : json(200, { count: 1 }))
  await bench.deliver(JOB)
  assert.equal(calls, 3)
  assert.equal(bench.results()[0]?.attempts, 3)
  const granted = await bench.metrics.permits_granted_total.get()
  assert.equal(granted.values[0]?.value, 3)
})

test('a 429 blocks the endpoint for every daemon and sends the job to the next longer retry topic', async () => {
  const bench = new Bench()
  bench.reply = () => json(429, {}, { 'retry-after': '40' })
  const before = Date.now()
  await bench.deliver(JOB)
  assert.deepEqual(bench.learnt, [
    { platform: 'counter', endpoint: 'count', blockMs: 40_000, rejected: true },
  ])
  const retry = bench.published[0]
  assert.equal(retry?.topic, 'retry.5m')
  const headers = retry?.record.headers ?? {}
  assert.ok(Number(headerText(headers, HEADERS.dueAt)) >= before + 300_000)
  assert.equal(headerText(headers, HEADERS.reason), 'rate_limited')
  assert.equal(headerText(headers, HEADERS.attempts), '0')
  assert.equal(headerText(headers, HEADERS.throttled), '1')
  assert.deepEqual(bench.results(), [])
})

test('what a reply says about limits reaches the limiter before anything is refused, once', async () => {
  const platform: Platform = {
    ...COUNTER,
    advice: ({ headers }) => (headers['x-usage'] === '95' ? { share: 0.5 } : undefined),
  }
  const bench = new Bench(platform)
  const said = { 'x-usage': '95', 'ratelimit-policy': '"a";q=10;w=60', ratelimit: '"a";r=0;t=30' }
  bench.reply = () => json(200, { count: 1 }, said)
  await bench.deliver(JOB)
  await bench.deliver(JOB)
  bench.reply = () => json(404, {}, { ...said, ratelimit: '"a";r=0;t=90' })
  await bench.deliver(JOB)
  assert.deepEqual(bench.learnt, [
    { platform: 'counter', share: 0.5, policy: undefined },
    {
      platform: 'counter',
      endpoint: 'count',
      spentMs: 30_000,
      share: undefined,
      policy: { limit: 10, windowMs: 60_000 },
    },
    { platform: 'counter', endpoint: 'count', spentMs: 90_000 },
  ])
})

test('refusals that come together are passed on once', async () => {
  const bench = new Bench()
  bench.reply = () => json(429, {}, { 'retry-after': '40' })
  await Promise.all(Array.from({ length: 20 }, () => bench.deliver(JOB)))
  assert.equal(bench.learnt.length, 1)
})

test('rows that ClickHouse refuses make a dead letter, and the outcome is still on record', async () => {
  const bench = new Bench()
  bench.refuseRows = true
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.reason, 'bad_response')
  assert.equal(bench.results().length, 1)
  assert.deepEqual(
    bench.written.map(({ rows }) => rows.map((row) => row.table)),
    [['jobs']],
  )
})

test('a reply of another schema says which field, and is a dead letter after two looks', async () => {
  const bench = new Bench()
  let calls = 0
  bench.reply = () => {
    calls++
    return json(200, { count: 'seven' })
  }
  await bench.deliver(JOB)
  assert.equal(calls, 2)
  assert.match(bench.results()[0]?.message ?? '', /count: .*number.*"seven"/)
})

test('a status that is a failure is told with what the body says, a redirect with where it leads', async () => {
  const bench = new Bench()
  const message = async (reply: Reply) => {
    bench.reply = () => reply
    await bench.deliver(JOB)
    return bench.results().at(-1)?.message
  }
  assert.equal(
    await message(json(401, { message: 'Bad credentials' })),
    'count: status 401; found {"message":"Bad credentials"}',
  )
  assert.equal(await message(json(404, '')), 'count: status 404')
  assert.equal(await message(json(500, 'x'.repeat(400))), `count: status 500; found ${'x'.repeat(300)}…`)
  assert.equal(
    await message(json(301, {}, { location: 'https://api.example/counts/7?key=secret' })),
    'count: status 301, a redirect to https://api.example/counts/7, which calls do not follow',
  )
})

test('a 404 that is a page is no word of the API: no creator is declared gone for it', async () => {
  const bench = new Bench()
  const gone = () => bench.written.flatMap(({ rows }) => rows).filter((row) => row.table === 'creators')
  for (const [body, reason] of [
    ['\n<!DOCTYPE html><title>404</title>', 'bad_response'],
    ['Not found', 'not_found'],
  ] as const) {
    bench.reply = () => ({ ...json(404, ''), body: Buffer.from(body) })
    await bench.deliver({ ...JOB, creator_id: reason })
    assert.equal(bench.results().at(-1)?.reason, reason)
  }
  assert.equal(gone().length, 1)
})

test('a reply without a body will do where the schema needs none', async () => {
  const counted = (response: z.ZodType) =>
    new Bench({ ...COUNTER, endpoints: { count: { ...COUNTER.endpoints.count, response } } } as Platform)
  for (const [response, status] of [
    [z.object({ count: z.number() }), 'dead'],
    [z.object({ count: z.number() }).default({ count: 1 }), 'done'],
  ] as const) {
    const bench = counted(response)
    bench.reply = () => json(204, '')
    await bench.deliver(JOB)
    assert.equal(bench.results()[0]?.status, status)
  }
})

test('pages may be found by the headers that they come with', async () => {
  const asked: (string | null)[] = []
  const { endpoints } = COUNTER
  const bench = new Bench({
    ...COUNTER,
    jobs: {
      profile: {
        params: z.object({}),
        run: async (_job, { paginate }) => {
          const path = { creator: 'ada' }
          let sum = 0
          const pages = (paginate as CallContext<typeof endpoints>['paginate'])(
            'count',
            { path },
            (_page, headers) => {
              const query = linkQuery(headers)
              return query === undefined ? undefined : { path, query }
            },
          )
          for await (const { count } of pages) sum += count
          return { data: sum }
        },
      },
    },
  })
  bench.reply = ({ searchParams }) => {
    const page = searchParams.get('page')
    asked.push(page)
    return json(200, { count: 7 }, page === '2' ? {} : { link: '<https://api.example/?page=2>; rel="next"' })
  }
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.data, 14)
  assert.deepEqual(asked, [null, '2'])
})

test('pages end where a cursor repeats, at once or by turns, and at the ceiling where it never does', async () => {
  const pagesOf = async (cursorAfter: (page: number) => string, pagesMax?: number) => {
    const response = z.object({ count: z.number(), next: z.string() })
    const endpoints = { count: { path: '/count', response } } as const
    const asked: (string | null)[] = []
    const bench = new Bench({
      ...COUNTER,
      endpoints,
      jobs: {
        profile: {
          params: z.object({}),
          run: async (_job, { paginate }) => {
            let pages = 0
            const all = (paginate as CallContext<typeof endpoints>['paginate'])(
              'count',
              {},
              ({ next }) => ({ query: { cursor: next } }),
              pagesMax === undefined ? {} : { pagesMax },
            )
            for await (const _page of all) pages += 1
            return { data: pages }
          },
        },
      },
    })
    bench.reply = ({ searchParams }) => {
      asked.push(searchParams.get('cursor'))
      return json(200, { count: 1, next: cursorAfter(asked.length) })
    }
    await bench.deliver(JOB)
    assert.equal(bench.results()[0]?.data, asked.length)
    return asked
  }
  assert.deepEqual(await pagesOf(() => 'a'), [null, 'a'])
  assert.deepEqual(await pagesOf((page) => (page % 2 === 1 ? 'a' : 'b')), [null, 'a', 'b'])
  assert.deepEqual(await pagesOf((page) => String(page % 4)), [null, '1', '2', '3', '0'])
  const endless = await pagesOf((page) => `${page}${'x'.repeat(1_000)}`)
  assert.equal(endless.length, 50)
  assert.equal(new Set(endless).size, 50)
  assert.equal((await pagesOf(String, 7)).length, 7)
})

test('a schema that changed everywhere says the first fields, what was expected, and shows a sample, in 2 KB', async () => {
  const response = z.object({
    items: z.array(z.object({ id: z.string(), statistics: z.object({ count: z.int() }) })),
  })
  const bench = new Bench({ ...COUNTER, endpoints: { count: { path: '/count/:creator', response } } })
  const items = Array.from({ length: 5_000 }, (_, index) => ({ id: index, stats: { count: String(index) } }))
  bench.reply = () => json(200, { items })
  await bench.deliver(JOB)
  const letter = bench.published.find(({ topic }) => topic === 'dead')?.record
  const message = headerText(letter?.headers ?? {}, HEADERS.message) ?? ''
  assert.match(message, /^count: items\.0\.id: .*expected string.*; items\.0\.statistics: .*expected object/)
  assert.match(message, /; found \{"items":\[\{"id":0,"stats":/)
  assert.ok(Buffer.byteLength(message) <= 2_048, `${message.length}`)
})

test('what a platform says in its own words holds no secret, nor what an adapter throws', async () => {
  const bench = new Bench({
    ...COUNTER,
    refused: () => ({ reason: 'forbidden' as const, message: 'no entry for hunter22, hunter%2322' }),
  })
  bench.secrets.add(['hunter22', 'hunter#22'])
  bench.reply = () => json(403, {})
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.message, 'no entry for [redacted], [redacted]')
  bench.secrets.add(['mistake'])
  await bench.deliver({ ...JOB, job_type: 'broken' })
  assert.equal(bench.results()[1]?.message, 'a [redacted] in the adapter')
})

test('a job of a lost partition stays unsettled', async () => {
  const bench = new Bench()
  let asked = () => {}
  const called = new Promise<void>((resolve) => {
    asked = resolve
  })
  bench.reply = () => {
    asked()
    return new Promise((_resolve, reject) => setImmediate(() => reject(new Error('aborted'))))
  }
  void bench.deliver(JOB)
  await called
  bench.lose()
  await bench.idle()
  assert.deepEqual(bench.trail, [])
})

test('when most jobs of a platform die for reasons of ours, it is paused', async () => {
  const bench = new Bench(COUNTER, { deadSample: 4 })
  bench.reply = () => json(401, {})
  for (let i = 0; i < 4; i++) await bench.deliver(JOB)
  await bench.idle()
  assert.equal(bench.desk.paused[0]?.platform, 'counter')
})

test('a dead letter that its topic refuses for its size is cut, with its length in a header, and settled', async () => {
  const bench = new Bench()
  bench.recordBytesMax = 100_000
  await bench.deliver(Buffer.alloc(200_000, 0x20))
  const dead = bench.published.find(({ topic }) => topic === 'dead')?.record
  assert.equal(dead?.value?.length, 65_536)
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.cut), '200000')
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.originalOffset), '0')
})

test('a dead letter whose key and headers alone are too large goes without them, and with its length, reason and place', async () => {
  const bench = new Bench()
  bench.recordBytesMax = 100_000
  await bench.deliver(
    { ...JOB, job_type: 'nothing' },
    { theirs: Buffer.alloc(200_000), list: [Buffer.alloc(9)] },
  )
  const dead = bench.published.find(({ topic }) => topic === 'dead')?.record
  assert.ok(dead)
  assert.equal(JSON.parse(String(dead.value)).creator_id, 'Ada')
  assert.equal(headerText(dead.headers, HEADERS.reason), 'unknown_job_type')
  assert.equal(headerText(dead.headers, HEADERS.originalOffset), '0')
  assert.equal(dead.headers.theirs, undefined)
})

test('a job whose follow-ups their topic refuses is a dead letter: it stops nothing', async () => {
  const bench = new Bench()
  bench.refusedTopic = 'jobs'
  await bench.deliver({ ...JOB, params: { pages: 1 } })
  const [result] = bench.results()
  assert.deepEqual([result?.status, result?.reason], ['dead', 'too_large'])
  assert.deepEqual(bench.trail, ['rows', 'rows', 'publish dead', 'mark', 'publish results', 'settle'])
})

test('a record that was cut on its way is malformed, with its true size', async () => {
  const bench = new Bench()
  await bench.deliver(JOB, { [HEADERS.cut]: Buffer.from('17000000') })
  assert.equal(bench.results()[0]?.reason, 'malformed')
  assert.match(bench.results()[0]?.message ?? '', /17000000 bytes/)
})

/** Its calls need a token. */
const TOKENS = {
  ...COUNTER,
  endpoints: {
    ...COUNTER.endpoints,
    token: { path: '/token', method: 'POST', authorised: false, response: z.object({ token: z.string() }) },
  },
  authorise: async (_credentials: unknown, { get }: { get: CallContext['get'] }) => {
    const { token } = (await get('token')) as { token: string }
    return { query: { token }, expiresInMs: 7_200_000 }
  },
} as Platform

test('a token that one job fails to get, on its last attempt or past its time, is got by the others', async () => {
  const bench = new Bench(TOKENS)
  let asked = 0
  bench.reply = ({ pathname }) => {
    if (pathname !== '/prefix/token') return json(200, { count: 1 })
    return ++asked === 1 ? json(500, '') : json(200, { token: 't' })
  }
  await Promise.all([
    bench.deliver(JOB, { [HEADERS.attempts]: Buffer.from('2') }),
    bench.deliver(JOB),
    bench.deliver(JOB),
  ])
  assert.deepEqual(
    bench.results().map(({ status }) => status),
    ['dead', 'done', 'done'],
  )

  const late = new Bench(TOKENS)
  late.reply = ({ pathname }) => json(200, pathname === '/prefix/token' ? { token: 't' } : { count: 1 })
  late.desk.pause('counter', 'test')
  const soon = new Date(Date.now() + 100).toISOString()
  const all = [late.deliver({ ...JOB, expires_at: soon }), late.deliver(JOB)]
  await new Promise((resolve) => setTimeout(resolve, 150))
  late.desk.resume('counter')
  await Promise.all(all)
  assert.deepEqual(
    late.results().map(({ status, reason }) => [status, reason]),
    [
      ['dead', 'expired'],
      ['done', null],
    ],
  )
})

test('a token that was revoked early is renewed once, and all jobs go on', async () => {
  let tokens = 0
  const bench = new Bench({
    ...COUNTER,
    endpoints: {
      ...COUNTER.endpoints,
      token: { path: '/token', method: 'POST', authorised: false, response: z.object({ token: z.string() }) },
    },
    authorise: async (_credentials: unknown, { get }: { get: CallContext['get'] }) => {
      const { token } = (await get('token')) as { token: string }
      return { query: { token }, expiresInMs: 7_200_000 }
    },
  } as Platform)
  bench.reply = (url) => {
    if (url.pathname.endsWith('/token')) return json(200, { token: `t${++tokens}` })
    return url.searchParams.get('token') === 't2' ? json(200, { count: 3 }) : json(401, {})
  }
  await Promise.all([bench.deliver(JOB), bench.deliver(JOB), bench.deliver(JOB)])
  assert.deepEqual(
    bench.results().map(({ status }) => status),
    ['done', 'done', 'done'],
  )
  assert.equal(tokens, 2)
  bench.reply = (url) => (url.pathname.endsWith('/token') ? json(200, { token: 'bad' }) : json(401, {}))
  await bench.deliver(JOB)
  assert.equal(bench.results()[3]?.reason, 'unauthorized')
})
