import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { request } from 'undici'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { instagram } from '../../src/platforms/instagram.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS, type SimulatorOptions } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { jsonReply } from '../platforms/recorded-context.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

async function started(t: TestContext, options: Partial<SimulatorOptions>) {
  const simulator = createSimulator({
    latencyMs: 0,
    jitterMs: 0,
    missingShare: 0,
    privateShare: 0,
    ...options,
  })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  return `http://127.0.0.1:${port}`
}

async function askInstagram(base: string) {
  const { access_token, ig_user_id } = DEFAULT_CREDENTIALS.instagram
  const [creator] = creatorIds('instagram', 1, 1, { missingShare: 0, privateShare: 0 })
  const url = new URL(`${base}/instagram/v26.0/${ig_user_id}`)
  url.searchParams.set('fields', `business_discovery.username(${creator}){id,username}`)
  const reply = await request(url, { headers: { authorization: `Bearer ${access_token}` } })
  await reply.body.dump()
  const headers = Object.fromEntries(
    Object.entries(reply.headers).map(([name, value]) => [name, String(value)]),
  )
  return {
    status: reply.statusCode,
    app: JSON.parse(headers['x-app-usage'] ?? 'null') as { call_count: number } | null,
    headers,
    advice: instagram.advice?.(jsonReply('user_profile', reply.statusCode, {}, headers)),
  }
}

test("Instagram's usage is of a rolling hour: filling the bucket is a small part of it", async (t) => {
  let clock = 0
  // 0.025 × 3600 + 10 are 100 calls an hour.
  const limits = { platforms: { instagram: { rate: 0.025, burst: 10 } }, endpoints: {} }
  const base = await started(t, { clock: () => clock, limits })
  for (let call = 1; call <= 10; call += 1) {
    const { status, app, headers, advice } = await askInstagram(base)
    assert.equal(status, 200)
    assert.equal(app?.call_count, call)
    assert.match(headers['x-business-use-case-usage'] ?? '', new RegExp(`"call_count":${call},`))
    assert.equal(advice, undefined)
  }
  const refused = await askInstagram(base)
  assert.equal(refused.status, 403)
  assert.equal(refused.app?.call_count, 100)
  assert.equal(refused.advice?.blockMs, MINUTE_MS)

  // Who is refused is not counted, and who keeps to the rate comes near the whole without reaching it.
  let last = 0
  for (let call = 11; call <= 99; call += 1) {
    clock += 40_000
    const { status, app, advice } = await askInstagram(base)
    assert.equal(status, 200)
    last = app!.call_count
    assert.equal(last, call)
    assert.equal(advice?.blockMs, undefined)
    assert.equal(advice?.share, call < 90 ? undefined : Math.max(0.1, (100 - call) / 10))
  }
  assert.equal(last, 99)
  clock += HOUR_MS
  assert.equal((await askInstagram(base)).app?.call_count, 1)
})

test('whoever is let in by Instagram is never told that all is used', async (t) => {
  let clock = 0
  const limits = { platforms: { instagram: { rate: 1 / 3600, burst: 1 } }, endpoints: {} }
  const base = await started(t, { clock: () => clock, limits })
  assert.equal((await askInstagram(base)).app?.call_count, 50)
  clock += 3_599_000
  assert.equal((await askInstagram(base)).status, 403)
  clock = HOUR_MS
  assert.equal((await askInstagram(base)).app?.call_count, 50)
  const tight = await started(t, {
    clock: () => 0,
    limits: { ...limits, platforms: { instagram: { rate: 1e-6, burst: 1 } } },
  })
  const only = await askInstagram(tight)
  assert.equal(only.status, 200)
  assert.equal(only.app?.call_count, 99)
})

test('without a limit Instagram says that nothing is used', async (t) => {
  const base = await started(t, { limits: OPEN_LIMITS })
  for (let call = 0; call < 3; call += 1) assert.equal((await askInstagram(base)).app?.call_count, 0)
})

async function askTiktok(base: string) {
  const reply = await request(`${base}/tiktok/v2/research/user/info/`, { method: 'POST', body: '{}' })
  await reply.body.dump()
  return { status: reply.statusCode, headers: reply.headers, advice: adviceOf(reply.headers, Date.now()) }
}

const WINDOW = { platforms: {}, endpoints: { 'tiktok/user_info': { limit: 3, windowMs: 10_500 } } }

test('TikTok says what its window allows and has left, when asked to', async (t) => {
  let clock = 0
  const base = await started(t, { clock: () => clock, limits: WINDOW, rateHeaders: true })
  const policy = { limit: 3, windowMs: 11_000 }
  const first = await askTiktok(base)
  assert.equal(first.headers['ratelimit-policy'], '"endpoint:tiktok/user_info";q=3;w=11')
  assert.equal(first.headers.ratelimit, '"endpoint:tiktok/user_info";r=2;t=11')
  assert.deepEqual(first.advice, { policy })
  clock += 4000
  assert.equal((await askTiktok(base)).headers.ratelimit, '"endpoint:tiktok/user_info";r=1;t=7')
  clock += 1000
  const last = await askTiktok(base)
  assert.equal(last.headers.ratelimit, '"endpoint:tiktok/user_info";r=0;t=6')
  assert.deepEqual(last.advice, { spentMs: 6000, policy })

  const refused = await askTiktok(base)
  assert.equal(refused.status, 429)
  assert.equal(refused.headers.ratelimit, '"endpoint:tiktok/user_info";r=0;t=6')
  // Who waits as long as it says is let in.
  clock += 6000
  const later = await askTiktok(base)
  assert.notEqual(later.status, 429)
  assert.equal(later.headers.ratelimit, '"endpoint:tiktok/user_info";r=0;t=4')
  clock += 20_000
  assert.equal((await askTiktok(base)).headers.ratelimit, '"endpoint:tiktok/user_info";r=2;t=11')
})

test('TikTok says nothing of it otherwise, nor do the others', async (t) => {
  const quiet = await askTiktok(await started(t, { limits: WINDOW }))
  assert.equal(quiet.headers.ratelimit, undefined)
  const open = await askTiktok(await started(t, { limits: OPEN_LIMITS, rateHeaders: true }))
  assert.equal(open.headers['ratelimit-policy'], undefined)
  const other = await askInstagram(await started(t, { rateHeaders: true }))
  assert.equal(other.headers.ratelimit, undefined)
})
