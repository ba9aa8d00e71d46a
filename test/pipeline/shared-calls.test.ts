import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CallContext, Platform } from '../../src/job/platform.ts'
import { ABANDONED } from '../../src/pipeline/job-run.ts'
import { youtube } from '../../src/platforms/youtube.ts'
import { credentialsOf } from '../../src/simulator/accounts.ts'
import { creatorIds, Population } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { serve } from '../fetch/local.ts'
import { until } from '../until.ts'
import { type YoutubeBench, youtubeAt } from './youtube-bench.ts'

const SEED = 3

test('500 jobs whose permits are scarce share calls of 50 ids, and each gets its own creator', async (t) => {
  const scarce = { limit: 2, windowMs: 250 }
  const limits = { platforms: {}, endpoints: { 'youtube/channel': scarce } }
  const simulator = createSimulator({ seed: SEED, creators: 1_000, latencyMs: 5, jitterMs: 0, limits })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  const bench = await youtubeAt(t, `http://127.0.0.1:${port}/youtube`, { channel: scarce })
  const options = { creators: 1_000 }
  const missing = new Set(creatorIds('youtube', SEED, 5, { ...options, fate: 'missing' }))
  const ids = [...creatorIds('youtube', SEED, 495, options), ...missing]
  const population = new Population({ seed: SEED, count: 1_000, missingShare: 0.01, privateShare: 0.01 })
  const jobs: ReturnType<typeof bench.run>[] = []
  // As an intake delivers them: some, and then some more.
  for (let first = 0; first < ids.length; first += 50) {
    jobs.push(...ids.slice(first, first + 50).map((id) => bench.run(id)))
    await sleep(5)
  }
  for (const [at, { outcome, errand }] of (await Promise.all(jobs)).entries()) {
    const id = ids[at]!
    assert.ok(typeof outcome === 'object')
    if (missing.has(id)) assert.ok(outcome.status === 'dead' && outcome.reason === 'not_found', id)
    else {
      assert.ok(outcome.status === 'done', JSON.stringify(outcome))
      const creator = outcome.harvest.rows?.find((row) => row.table === 'creators')
      assert.equal(creator?.handle, population.handle('youtube', population.find('youtube', id)!.index))
    }
    assert.equal(errand.calls, 1)
    assert.ok(Math.abs(errand.observedAtMs - Date.now()) < 60_000)
  }
  const report = simulator.report()
  assert.equal(report.violations, 0)
  // The first ones go with whoever is there by then.
  assert.ok(report.arrivals >= 10 && report.arrivals <= 12, `${report.arrivals} calls`)
  t.diagnostic(`500 jobs in ${report.arrivals} calls`)
})

test('while permits are plentiful a job waits for no other', async (t) => {
  const simulator = createSimulator({ seed: SEED, creators: 100, latencyMs: 0, jitterMs: 0 })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  const bench = await youtubeAt(t, `http://127.0.0.1:${port}/youtube`)
  for (const id of creatorIds('youtube', SEED, 5, { creators: 100 })) await bench.run(id)
  assert.equal(simulator.report().arrivals, 5)
})

const IDS = Array.from({ length: 20 }, (_, at) => `UC${String(at).padStart(22, '0')}`)

function channel(id: string) {
  return {
    id,
    snippet: { title: id, description: '' },
    statistics: { hiddenSubscriberCount: false, subscriberCount: '7', videoCount: '0', viewCount: '0' },
    contentDetails: { relatedPlaylists: {} },
  }
}

/** A YouTube that knows every channel and answers as `reply` says; `asked` holds the ids of each call. */
async function scripted(
  t: TestContext,
  reply: (ids: readonly string[], call: number) => { status: number; items?: object[] },
) {
  const asked: string[][] = []
  const listener: RequestListener = (request, response) => {
    const ids = new URL(request.url ?? '', 'http://x').searchParams.get('id')?.split(',') ?? []
    const { status, items = ids.map(channel) } = reply(ids, asked.push(ids))
    const error = { code: status, message: 'as scripted', errors: [{ reason: 'channelForbidden' }] }
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(status === 200 ? { items } : status === 403 ? { error } : {}))
  }
  const { origin } = await serve(t, listener)
  return { bench: await youtubeAt(t, origin), asked }
}

/** `attempts`: what jobs have behind them, by their place. */
function runAll(bench: YoutubeBench, attempts: Readonly<Record<number, number>> = {}) {
  return Promise.all(IDS.map((id, at) => bench.run(id, { attempts: attempts[at] ?? 0 })))
}

function statusOf({ outcome }: Awaited<ReturnType<YoutubeBench['run']>>): string {
  return typeof outcome === 'symbol' ? String(outcome) : outcome.status
}

test('a shared call that fails is repeated once for all, and judged by what each job has behind it', async (t) => {
  const { bench, asked } = await scripted(t, (_ids, call) => ({ status: call === 1 ? 503 : 200 }))
  const ends = await runAll(bench, { 4: 2 })
  assert.deepEqual(
    ends.map(statusOf),
    IDS.map((_, at) => (at === 4 ? 'dead' : 'done')),
  )
  assert.deepEqual(
    asked.map(({ length }) => length),
    [20, 19],
  )
  assert.deepEqual([ends[0]!.errand.tally.attempts, ends[0]!.errand.calls], [1, 2])
})

test('one channel that makes a whole call fail, or whose item is none, kills no other job', async (t) => {
  const bad = IDS[7]!
  const forbidding = await scripted(t, (ids) => ({ status: ids.includes(bad) ? 403 : 200 }))
  const isPrivate = await runAll(forbidding.bench)
  assert.deepEqual(
    isPrivate.map(statusOf),
    IDS.map((id) => (id === bad ? 'dead' : 'done')),
  )
  assert.deepEqual(
    isPrivate.map(({ errand }) => errand.tally.attempts),
    IDS.map((id) => (id === bad ? 1 : 0)),
    'what another job was to blame for is held against nobody',
  )
  assert.ok(forbidding.asked.length <= 11, `${forbidding.asked.length} calls`)

  const odd = await scripted(t, (ids) => ({
    status: 200,
    items: ids.map((id) => (id === bad ? { id, statistics: 'none' } : channel(id))),
  }))
  assert.deepEqual(
    (await runAll(odd.bench)).map(statusOf),
    IDS.map((id) => (id === bad ? 'dead' : 'done')),
  )
})

test('more ids than one call takes become several, and what is no id is the job’s own fault', async (t) => {
  const asked: number[] = []
  const { origin } = await serve(t, (request, response) => {
    const ids = new URL(request.url ?? '', 'http://x').searchParams.get('id')?.split(',') ?? []
    asked.push(ids.length)
    response.end(JSON.stringify({ items: ids.map(channel).reverse() }))
  })
  const many = Array.from({ length: 120 }, (_, at) => `${at}`)
  const asking = (ids: readonly string[]) => {
    const profile = {
      params: youtube.jobs.profile.params,
      run: async (_job: unknown, { getMany }: CallContext<typeof youtube.endpoints>) => ({
        data: [...(await getMany('channel', ids)).keys()],
      }),
    }
    return youtubeAt(t, origin, { platform: { ...youtube, jobs: { profile } } as Platform })
  }
  const { outcome } = await (await asking([...many, '7', '8'])).run(IDS[0]!)
  assert.ok(typeof outcome === 'object' && outcome.status === 'done')
  assert.deepEqual(outcome.harvest.data, many)
  assert.deepEqual(asked, [50, 50, 20])
  const wrong = (await (await asking(['1,2'])).run(IDS[0]!)).outcome
  assert.ok(typeof wrong === 'object' && wrong.status === 'dead' && wrong.reason === 'invalid_params')
  assert.match(wrong.message, /found the id "1,2", expected one without commas/)
})

test('jobs that are given up while they wait, or expire, are not asked for, and the others are', async (t) => {
  const { bench, asked } = await scripted(t, () => ({ status: 200 }))
  bench.desk.pause('youtube', 'test')
  const lost = new AbortController()
  const [gone, expired, stays] = [
    bench.run(IDS[0]!, { signal: lost.signal }),
    bench.run(IDS[1]!, { expiresAtMs: Date.now() + 30 }),
    bench.run(IDS[2]!),
  ]
  lost.abort(new Error('lost'))
  assert.equal((await gone).outcome, ABANDONED)
  const { outcome } = await expired
  assert.ok(typeof outcome === 'object' && outcome.status === 'dead' && outcome.reason === 'expired')
  bench.desk.resume('youtube')
  assert.equal(statusOf(await stays), 'done')
  assert.deepEqual(asked, [[IDS[2]]])
})

test('a call under way goes on while one of its jobs needs it, and is cut off when none does', async (t) => {
  const arrived: string[] = []
  let cutOff = 0
  const { origin } = await serve(t, (request, response) => {
    arrived.push(new URL(request.url ?? '', 'http://x').searchParams.get('id') ?? '')
    response.on('close', () => cutOff++)
    if (arrived.length > 1) response.end(JSON.stringify({ items: [channel(IDS[2]!)] }))
  })
  const bench = await youtubeAt(t, origin)
  const [one, other] = [new AbortController(), new AbortController()]
  const jobs = [bench.run(IDS[0]!, { signal: one.signal }), bench.run(IDS[1]!, { signal: other.signal })]
  await until(() => arrived.length === 1)
  one.abort(new Error('lost'))
  assert.equal((await jobs[0]!).outcome, ABANDONED)
  assert.equal(statusOf(await bench.run(IDS[2]!)), 'done')
  assert.equal(cutOff, 1, 'only the answered one has closed')
  other.abort(new Error('lost'))
  assert.equal((await jobs[1]!).outcome, ABANDONED)
  await until(() => cutOff === 2)
  assert.deepEqual(arrived, [`${IDS[0]},${IDS[1]}`, IDS[2]])
})

test('a shared call that one credential’s quota refuses is made with another, once for all', async (t) => {
  const limits = { ...OPEN_LIMITS, dailyQuota: { youtube: 1 } }
  const simulator = createSimulator({
    seed: SEED,
    creators: 100,
    latencyMs: 0,
    jitterMs: 0,
    accounts: 2,
    limits,
  })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  const credentials = ['first', 'second'].map((name, at) => ({
    name,
    value: credentialsOf(DEFAULT_CREDENTIALS, at + 1).youtube,
  }))
  const bench = await youtubeAt(t, `http://127.0.0.1:${port}/youtube`, { credentials })
  const ids = creatorIds('youtube', SEED, 41, { creators: 100 })
  assert.equal(statusOf(await bench.run(ids[40]!)), 'done')
  // The first call went with one of them; whichever the next one takes, one of its two answers.
  const ends = await Promise.all(ids.slice(0, 40).map((id) => bench.run(id)))
  assert.ok(ends.every((end) => statusOf(end) === 'done'))
  const report = simulator.report()
  assert.ok(report.arrivals <= 3, `${report.arrivals} calls`)
  assert.equal(report.violations, 0)
})

test('a daemon that drains sends away whoever waits in a shared call', async (t) => {
  const { bench, asked } = await scripted(t, () => ({ status: 200 }))
  bench.desk.pause('youtube', 'test')
  const all = runAll(bench)
  await until(() => bench.desk.queued().youtube?.channel === 1)
  bench.desk.dismiss()
  assert.ok((await all).every(({ outcome }) => outcome === ABANDONED))
  assert.deepEqual(asked, [])
})
