import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { z } from 'zod'
import type { Credential } from '../../src/job/credential.ts'
import type { Platform } from '../../src/job/platform.ts'
import tiktok from '../../src/platforms/tiktok.ts'
import youtube from '../../src/platforms/youtube.ts'
import { credentialsOf } from '../../src/simulator/accounts.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS, type SimulatorOptions } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { until } from '../until.ts'
import { errandOf, upstreamOf } from './upstream-bench.ts'

/** `first`, `second`, `third`: the simulator's accounts. */
function named(platform: 'youtube' | 'tiktok', count: number): Credential[] {
  return ['first', 'second', 'third'].slice(0, count).map((name, index) => ({
    name,
    value: credentialsOf(DEFAULT_CREDENTIALS, index + 1)[platform],
  }))
}

async function simulated(t: TestContext, options: Partial<SimulatorOptions>) {
  const simulator = createSimulator({ limits: OPEN_LIMITS, latencyMs: 2, jitterMs: 0, ...options })
  const { port } = await simulator.start()
  t.after(() => simulator.stop())
  return { base: `http://127.0.0.1:${port}`, calls: () => simulator.report().byAccount, simulator }
}

/** Where no day ends while a test runs. */
const MIDDAY = new Date().getUTCHours() < 20 ? 'UTC' : 'Asia/Tokyo'

const CHANNEL = { query: { part: 'snippet,statistics,contentDetails', id: 'UC0000000000000000000000' } }

test('each credential has a quota of its own, and the one with most room is used', async (t) => {
  const { base, calls } = await simulated(t, { accounts: 3 })
  const { upstream } = await upstreamOf(t, youtube as Platform, {
    origin: `${base}/youtube`,
    credentials: named('youtube', 3),
    plan: { quotas: { youtube: { limit: 100, period: 'day', timeZone: MIDDAY } } },
  })
  await Promise.all(Array.from({ length: 150 }, () => upstream.call(errandOf(), 'channel', CHANNEL)))
  const now = Object.values(calls())
  assert.equal(now.length, 3)
  // Evenly, but for the permits of one call to the limiter.
  for (const used of now) assert.ok(used >= 20 && used <= 100, JSON.stringify(calls()))

  // What is left is used up, and not one call more: the rest waits for the next day.
  const end = new AbortController()
  let answered = 0
  const rest = Promise.allSettled(
    Array.from({ length: 160 }, async () => {
      await upstream.call(errandOf({ signal: end.signal }), 'channel', CHANNEL)
      answered += 1
    }),
  )
  await until(() => answered === 150)
  end.abort(new Error('enough'))
  await rest
  assert.equal(answered, 150)
  assert.deepEqual(calls(), { 'youtube/1': 100, 'youtube/2': 100, 'youtube/3': 100 })
})

test('a quota that the platform calls spent is left for the others, at no cost to the job', async (t) => {
  // Somebody else has used most of the first: the platform allows less than our limits know.
  const { base, calls, simulator } = await simulated(t, {
    accounts: 2,
    limits: { ...OPEN_LIMITS, dailyQuota: { youtube: 30 } },
  })
  const { upstream } = await upstreamOf(t, youtube as Platform, {
    origin: `${base}/youtube`,
    credentials: named('youtube', 2),
    plan: { credentials: { youtube: { rate: 1_000, burst: 1_000 } } },
  })
  const errands = Array.from({ length: 50 }, () => errandOf())
  await Promise.all(errands.map((errand) => upstream.call(errand, 'channel', CHANNEL)))
  assert.ok(errands.every(({ tally }) => tally.attempts === 0))
  const { quotaRefusals } = simulator.report()
  assert.equal((calls()['youtube/1'] ?? 0) + (calls()['youtube/2'] ?? 0), 50 + quotaRefusals)
})

test('a refused credential is set aside and told of, and the others go on', async (t) => {
  const { base, calls } = await simulated(t, { accounts: 2 })
  const [first, second] = named('youtube', 2)
  const revoked = { name: 'second', value: { key: 'revoked' } }
  const { upstream, metrics } = await upstreamOf(t, youtube as Platform, {
    origin: `${base}/youtube`,
    credentials: [first!, revoked],
    plan: { credentials: { youtube: { rate: 1_000, burst: 1_000 } } },
  })
  assert.ok(second)
  const errands = Array.from({ length: 30 }, () => errandOf())
  await Promise.all(errands.map((errand) => upstream.call(errand, 'channel', CHANNEL)))
  assert.ok(errands.every(({ tally }) => tally.attempts === 0))
  // The platform refused the first one or two calls of it, if any was made before.
  while (upstream.credentials.refused.length === 0) await upstream.call(errandOf(), 'channel', CHANNEL)
  assert.deepEqual(upstream.credentials.refused, ['second'])
  const gauge = (await metrics.credential_refused.get()).values.map(({ labels, value }) => [
    labels.credential,
    value,
  ])
  assert.deepEqual(gauge, [
    ['first', 0],
    ['second', 1],
  ])
  const before = calls()['youtube/1'] ?? 0
  for (let n = 0; n < 10; n += 1) await upstream.call(errandOf(), 'channel', CHANNEL)
  assert.equal((calls()['youtube/1'] ?? 0) - before, 10)
})

test('the last credential is never set aside: its refusals end jobs', async (t) => {
  const { base } = await simulated(t, {})
  const wrong = (name: string) => ({ name, value: { key: `revoked-${name}` } })
  const { upstream } = await upstreamOf(t, youtube as Platform, {
    origin: `${base}/youtube`,
    credentials: [wrong('first'), wrong('second')],
  })
  await assert.rejects(upstream.call(errandOf(), 'channel', CHANNEL), { reason: 'unauthorized' })
  await assert.rejects(upstream.call(errandOf(), 'channel', CHANNEL), { reason: 'unauthorized' })
})

test('each credential fetches its own token, and one without is done without', async (t) => {
  const { base, calls } = await simulated(t, { accounts: 2 })
  const wrong = { name: 'third', value: { client_key: 'nobody', client_secret: 'knows' } }
  const { upstream } = await upstreamOf(t, tiktok as Platform, {
    origin: `${base}/tiktok`,
    credentials: [...named('tiktok', 2), wrong],
    plan: { quotas: { tiktok: { limit: 50, period: 'day', timeZone: 'UTC', counts: 'requests' } } },
  })
  const info = { query: { fields: 'display_name' }, json: { username: 'nobody.at.all' } }
  // Whoever comes first fetches them all; the next ones need not wait for it.
  await assert.rejects(upstream.call(errandOf(), 'user_info', info), { reason: 'not_found' })
  const outcomes = await Promise.allSettled(
    Array.from({ length: 39 }, () => upstream.call(errandOf(), 'user_info', info)),
  )
  // Answered, whatever they say of a creator that is not there.
  for (const { status } of outcomes) assert.equal(status, 'rejected')
  const { 'tiktok/1': one = 0, 'tiktok/2': two = 0 } = calls()
  assert.equal(one + two, 40)
  assert.ok(one >= 10 && two >= 10, `${one} and ${two}`)
  assert.deepEqual(upstream.credentials.refused, ['third'])
})

test('a credential that was set aside is tried again by one call, and taken up when it is answered', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  let isRevoked = true
  const asked: string[] = []
  const server = createServer((request, response) => {
    const key = String(request.headers['x-key'])
    asked.push(key)
    const refuses = key === 'b' && isRevoked
    response.writeHead(refuses ? 401 : 200, { 'content-type': 'application/json' }).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const platform = {
    name: 'keys',
    origin: 'http://unused.example',
    credentials: z.object({ key: z.string() }),
    endpoints: { list: { path: '/list', response: z.object({}) } },
    authorise: ({ key }: { key: string }) => ({ headers: { 'x-key': key } }),
    jobs: {},
  } as unknown as Platform
  const { upstream } = await upstreamOf(t, platform, {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    credentials: [
      { name: 'a', value: { key: 'a' } },
      { name: 'b', value: { key: 'b' } },
    ],
  })
  upstream.credentials.refuse('b', 'test')
  await upstream.call(errandOf(), 'list')
  assert.deepEqual(asked, ['a'])

  // A minute later.
  const { now } = performance
  let aheadMs = 61_000
  t.mock.method(performance, 'now', () => now.call(performance) + aheadMs)
  assert.ok(upstream.credentials.isTrialDue)
  asked.length = 0
  await Promise.all([upstream.call(errandOf(), 'list'), upstream.call(errandOf(), 'list')])
  assert.equal(asked.filter((key) => key === 'b').length, 1)
  assert.deepEqual(upstream.credentials.refused, ['b'])

  isRevoked = false
  aheadMs += 200_000
  asked.length = 0
  await upstream.call(errandOf(), 'list')
  assert.deepEqual(asked, ['b'])
  assert.deepEqual(upstream.credentials.refused, [])
})
