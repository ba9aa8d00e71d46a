import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Ack } from '../../src/job/permit.ts'
import { capacityOf, type PlannedCall, type Workload } from '../../src/limiter/capacity.ts'
import { MemoryLimiter } from '../../src/limiter/memory-limiter.ts'
import type { LimitPlan, QuotaLimit } from '../../src/limiter/plan.ts'
import { demand, metrics, want } from './sample.ts'

const SECOND = 1_000
const HOUR = 3_600 * SECOND
const DAY = 24 * HOUR

const PLAN: LimitPlan = {
  global: { rate: 15, burst: 1000 },
  platforms: { instagram: { rate: 3, burst: 200 }, youtube: { rate: 2.5, burst: 150 } },
  endpoints: {
    instagram: { user_profile: { limit: 30, windowMs: 60_000 }, user_media: { limit: 20, windowMs: 60_000 } },
    youtube: { channel: { limit: 100, windowMs: 60_000 } },
  },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 1_000,
  grantTimeoutMs: 31_000,
}

const PROFILE: PlannedCall = { platform: 'instagram', endpoint: 'user_profile', cost: 1, calls: 1 }
const MEDIA: PlannedCall = { platform: 'instagram', endpoint: 'user_media', cost: 1, calls: 1 }
const CHANNEL: PlannedCall = { platform: 'youtube', endpoint: 'channel', cost: 1, calls: 1 }

/** One platform's answer. */
function one(plan: LimitPlan, workload: Workload, latencyMs = 0) {
  const [answer, ...others] = capacityOf(plan, latencyMs, workload)
  assert.ok(answer !== undefined && others.length === 0)
  return { ...answer, at: (name: string) => answer.levels.find(({ level }) => level.name === name)! }
}

function isAbout(found: number, expected: number, what: string): void {
  assert.ok(
    Math.abs(found - expected) <= 1e-9 * Math.max(1, expected),
    `${what}: ${found} is not ${expected}`,
  )
}

test('ten thousand profiles at 30 per 60 s take 20,000 s, and the widest levels stand first', () => {
  const answer = one(PLAN, { creators: 10_000, periodMs: DAY, calls: [PROFILE] })
  assert.deepEqual(
    answer.levels.map(({ level }) => level.name),
    ['global', 'platform:instagram', 'endpoint:instagram/user_profile'],
  )
  assert.equal(answer.requests, 10_000)
  const window = answer.at('endpoint:instagram/user_profile')
  assert.equal(answer.decisive, window)
  assert.equal(answer.slowest, window)
  // 86,400 s / 60 s × 30.
  isAbout(window.capacity, 43_200, 'capacity')
  isAbout(window.load, 10_000 / 43_200, 'load')
  isAbout(window.roundMs, 20_000 * SECOND, 'round')
  isAbout(window.everyMsMin, 20_000 * SECOND, 'shortest period')
  assert.equal(answer.creatorsMax, 43_200)
  assert.equal(answer.fits, true)
  // 200 of burst less a second of jitter at 3 a second are 197; the other 9,803 come at 3 a second.
  const bucket = answer.at('platform:instagram')
  isAbout(bucket.capacity, 259_200, 'capacity of the bucket')
  isAbout(bucket.roundMs, (9_803 / 3) * SECOND, 'round of the bucket')
  isAbout(bucket.everyMsMin, (10_000 / 3) * SECOND, 'shortest period of the bucket')
})

test('replies that take a second to begin make every window of 60 s one of 61 s', () => {
  const workload = { creators: 10_000, periodMs: DAY, calls: [PROFILE] }
  const { decisive } = one(PLAN, workload, 1_000)
  isAbout(decisive.roundMs, (10_000 / 30) * 61 * SECOND, 'round')
  isAbout(decisive.capacity, (30 * 86_400) / 61, 'capacity')
})

test('a bounded window loses to the jitter what a causal one loses to the latency', () => {
  const user_profile = { limit: 30, windowMs: 59_000, mode: 'bounded' as const }
  const plan = { ...PLAN, endpoints: { instagram: { user_profile } } }
  const { decisive } = one(plan, { creators: 300, periodMs: DAY, calls: [PROFILE] }, 5_000)
  isAbout(decisive.roundMs, 10 * 60 * SECOND, 'round')
})

test('the endpoint that is called most decides, and its platform bears the calls of both', () => {
  const answer = one(PLAN, { creators: 10_000, periodMs: DAY, calls: [PROFILE, { ...MEDIA, calls: 3 }] })
  assert.equal(answer.requests, 40_000)
  assert.equal(answer.decisive.level.name, 'endpoint:instagram/user_media')
  // 30,000 calls of 28,800 a day.
  isAbout(answer.decisive.load, 30_000 / 28_800, 'load')
  assert.equal(answer.fits, false)
  assert.equal(answer.creatorsMax, 9_600)
  isAbout(answer.everyMsMin, 90_000 * SECOND, 'shortest period')
  assert.equal(answer.at('platform:instagram').needed, 40_000)
  assert.equal(answer.at('endpoint:instagram/user_profile').needed, 10_000)
})

test('the global level bears the calls of all platforms, and may be what decides', () => {
  const plan = { ...PLAN, global: { rate: 1, burst: 101 } }
  const calls = [PROFILE, CHANNEL, { ...MEDIA, calls: 1.15 }]
  const answers = capacityOf(plan, 0, { creators: 1_000, periodMs: HOUR, calls })
  assert.deepEqual(
    answers.map(({ platform, requests }) => [platform, requests]),
    [
      ['instagram', 2_150],
      ['youtube', 1_000],
    ],
  )
  const youtube = answers[1]!
  assert.equal(youtube.decisive.level.name, 'global')
  assert.equal(youtube.decisive.needed, 3_150)
  isAbout(youtube.decisive.load, 3_150 / 3_600, 'load')
  // A burst of 100 is left of 101, the other 3,050 come at one a second.
  isAbout(youtube.decisive.roundMs, 3_050 * SECOND, 'round')
  // 3,600 / 3.15.
  assert.equal(youtube.creatorsMax, 1_142)
  // 1,150 calls of 1,200.
  assert.equal(answers[0]!.decisive.level.name, 'endpoint:instagram/user_media')
})

test('of levels with the same load the widest decides', () => {
  const plan = { ...PLAN, platforms: { instagram: PLAN.global }, endpoints: {} }
  const answer = one(plan, { creators: 10, periodMs: HOUR, calls: Array.from({ length: 20 }, callOfItsOwn) })
  assert.equal(answer.at('platform:instagram').load, answer.decisive.load)
  assert.equal(answer.decisive.level.name, 'global')
})

/** An endpoint for each call, so that no window is in the way. */
function callOfItsOwn(_: unknown, index: number): PlannedCall {
  return { ...PROFILE, endpoint: `e${index}` }
}

test('a round that a burst covers takes no time', () => {
  const plan = { ...PLAN, endpoints: {}, defaultEndpoint: { limit: 1_000, windowMs: 1_000 } }
  const answer = one(plan, { creators: 197, periodMs: DAY, calls: [PROFILE] })
  assert.equal(answer.at('platform:instagram').roundMs, 0)
  assert.ok(answer.at('platform:instagram').load > 0)
})

const QUOTA: QuotaLimit = { limit: 10_000, period: 'day', timeZone: 'America/Los_Angeles' }

test('a quota counts units, gives a part of itself in a part of its period, and makes a round wait for new periods', () => {
  const plan = { ...PLAN, quotas: { youtube: QUOTA } }
  const quotaOf = (creators: number, periodMs: number) =>
    one(plan, { creators, periodMs, calls: [{ ...CHANNEL, cost: 3 }] }).at('quota:youtube/main')
  for (const [creators, periodMs, needed, capacity, roundMs] of [
    [10_000, DAY, 30_000, 10_000, 2 * DAY],
    [10_000, 3 * DAY, 30_000, 30_000, 2 * DAY],
    [3_333, DAY, 9_999, 10_000, 0],
    [3_334, DAY, 10_002, 10_000, DAY],
    [100, HOUR, 300, 10_000 / 24, 0],
    [100, 36 * HOUR, 300, 15_000, 0],
  ] as const) {
    const quota = quotaOf(creators, periodMs)
    assert.equal(quota.needed, needed)
    isAbout(quota.capacity, capacity, `${creators} in ${periodMs} ms`)
    assert.equal(quota.roundMs, roundMs)
    isAbout(quota.everyMsMin, (needed / 10_000) * DAY, 'shortest period')
    assert.equal(quota.creatorsMax, Math.floor(capacity / 3))
  }
})

test('a month of a quota is taken for its longest', () => {
  const plan = { ...PLAN, quotas: { youtube: { ...QUOTA, limit: 31, period: 'month' as const } } }
  const answer = one(plan, { creators: 1, periodMs: DAY, calls: [CHANNEL] })
  isAbout(answer.decisive.capacity, 1, 'a day of a month')
})

test('credentials that share the work have a part of the load each, a quota of the platform has all of it', () => {
  const credentials = { instagram: { limit: 200, windowMs: HOUR } }
  const halves = ['a', 'b'].map((credential) => ({ ...PROFILE, credential, calls: 0.5 }))
  const workload = { creators: 1_000, periodMs: HOUR, calls: halves }
  const each = one({ ...PLAN, credentials, quotas: { instagram: QUOTA } }, workload)
  assert.deepEqual(
    each.levels.map(({ level, needed }) => [level.name, needed]),
    [
      ['global', 1_000],
      ['platform:instagram', 1_000],
      ['endpoint:instagram/user_profile', 1_000],
      ['credential:instagram/a', 500],
      ['credential:instagram/b', 500],
      ['quota:instagram/a', 500],
      ['quota:instagram/b', 500],
    ],
  )
  isAbout(each.at('credential:instagram/a').load, 2.5, 'load of a credential')
  const shared = one({ ...PLAN, quotas: { instagram: { ...QUOTA, per: 'platform' } } }, workload)
  assert.equal(shared.at('quota:instagram').needed, 1_000)
})

test('a level that counts units bears the cost of a call, one that counts requests bears one', () => {
  const plan = { ...PLAN, platforms: { youtube: { rate: 2.5, burst: 150, counts: 'units' as const } } }
  const answer = one(plan, { creators: 10, periodMs: DAY, calls: [{ ...CHANNEL, cost: 100 }] })
  assert.deepEqual(
    answer.levels.map(({ needed }) => needed),
    [10, 1_000, 10],
  )
  assert.equal(answer.requests, 10)
})

test('what fits, how many would and how often agree with one another', () => {
  const bucket = fc.record({
    rate: fc.double({ min: 0.01, max: 100, noNaN: true }),
    burst: fc.integer({ min: 200, max: 5_000 }),
  })
  const window = fc.record({
    limit: fc.integer({ min: 1, max: 1_000 }),
    windowMs: fc.integer({ min: 100, max: DAY }),
  })
  const quota = fc.record({
    limit: fc.integer({ min: 1, max: 100_000 }),
    period: fc.constantFrom('hour', 'day', 'week', 'month'),
    timeZone: fc.constant('UTC'),
  })
  const call = fc.record({
    platform: fc.constantFrom('instagram', 'youtube'),
    endpoint: fc.constantFrom('user_profile', 'user_media', 'channel', 'other'),
    cost: fc.integer({ min: 1, max: 5 }),
    calls: fc.double({ min: 0.1, max: 10, noNaN: true }),
  })
  fc.assert(
    fc.property(
      fc.record({ global: bucket, instagram: bucket, youtube: bucket, user_media: window, channel: window }),
      fc.option(quota, { nil: undefined }),
      fc.array(call, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: SECOND, max: 31 * DAY }),
      fc.integer({ min: 0, max: 5_000 }),
      (limits, youtubeQuota, calls, creators, periodMs, latencyMs) => {
        const plan: LimitPlan = {
          ...PLAN,
          global: limits.global,
          platforms: { instagram: limits.instagram, youtube: limits.youtube },
          endpoints: { instagram: { user_media: limits.user_media }, youtube: { channel: limits.channel } },
          quotas: youtubeQuota === undefined ? {} : { youtube: youtubeQuota },
        }
        const ask = (change: Partial<Workload>) =>
          capacityOf(plan, latencyMs, { creators, periodMs, calls, ...change })
        for (const [place, answer] of ask({}).entries()) {
          const { levels, decisive, slowest, fits, creatorsMax, everyMsMin } = answer
          assert.ok(levels.every(({ load }) => load <= decisive.load))
          assert.ok(levels.every(({ roundMs }) => roundMs <= slowest.roundMs))
          assert.equal(fits, creators <= creatorsMax || decisive.load <= 1)
          assert.ok(!fits || slowest.roundMs <= periodMs * (1 + 1e-9), 'what fits is done within the period')
          if (creatorsMax > 0) assert.ok(ask({ creators: creatorsMax })[place]!.fits)
          assert.ok(!ask({ creators: Math.ceil((creatorsMax + 1) * (1 + 1e-6)) })[place]!.fits)
          assert.ok(ask({ periodMs: everyMsMin })[place]!.fits)
          assert.ok(!ask({ periodMs: everyMsMin * 0.999 })[place]!.fits)
        }
      },
    ),
    { numRuns: 500 },
  )
})

/** Makes all calls as soon as the limiter grants them, in virtual time: until the last one was granted. */
async function playRound(plan: LimitPlan, calls: Readonly<Record<string, number>>, latencyMs: number) {
  // A little after the beginning of an hour, when no clock can take it for the hour before.
  const startedMs = 1_800_000_000_000 + 5_000
  let nowMs = startedMs
  let lastGrantMs = nowMs
  const limiter = new MemoryLimiter({ plan, coldStart: 'full', metrics: metrics(), nowMs: () => nowMs })
  const left = new Map(Object.entries(calls))
  let replies: { atMs: number; ack: Ack }[] = []
  for (;;) {
    const acks = replies.filter(({ atMs }) => atMs <= nowMs).map(({ ack }) => ack)
    replies = replies.filter(({ atMs }) => atMs > nowMs)
    const wants = [...left].filter(([, count]) => count > 0).map(([endpoint, count]) => want(endpoint, count))
    if (wants.length === 0) return lastGrantMs - startedMs
    let nextMs = Number.POSITIVE_INFINITY
    for (const { endpoint, granted, grant, waitMs } of await limiter.decide(
      demand('instagram', wants, acks),
    )) {
      if (granted > 0) {
        lastGrantMs = nowMs
        left.set(endpoint, left.get(endpoint)! - granted)
        replies.push({ atMs: nowMs + latencyMs, ack: { endpoint, grant, arrived: granted } })
      }
      if (waitMs > 0) nextMs = Math.min(nextMs, nowMs + waitMs)
    }
    nowMs = Math.min(nextMs, ...replies.map(({ atMs }) => atMs))
  }
}

test('the limiter itself takes as long for a round as was reckoned', async () => {
  const wide = { limit: 100_000, windowMs: 60_000 }
  const endpoints = { instagram: { user_profile: wide, user_media: wide } }
  const hourly: QuotaLimit = { limit: 100, period: 'hour', timeZone: 'UTC' }
  for (const { plan, creators, decides, tooLongMs } of [
    // The last of the calls go out at the beginning of a window, not at its end.
    { plan: PLAN, creators: 300, decides: 'endpoint:instagram/user_media', tooLongMs: 60_500 },
    {
      plan: { ...PLAN, endpoints },
      creators: 1_000,
      decides: 'platform:instagram',
      tooLongMs: SECOND,
    },
    {
      plan: { ...PLAN, endpoints, quotas: { instagram: hourly } },
      creators: 125,
      decides: 'quota:instagram/main',
      tooLongMs: 5 * SECOND,
    },
  ]) {
    const workload = { creators, periodMs: DAY, calls: [PROFILE, MEDIA] }
    const { slowest } = one(plan, workload, 500)
    assert.equal(slowest.level.name, decides)
    const tookMs = await playRound(plan, { user_profile: creators, user_media: creators }, 500)
    const early = slowest.roundMs - tookMs
    // A window's log has grains of a thousandth, and a bucket whole microseconds between its tokens.
    assert.ok(early <= tooLongMs, `${decides}: ${tookMs} ms, reckoned ${slowest.roundMs} ms`)
    assert.ok(early >= -0.002 * slowest.roundMs, `${decides}: ${tookMs} ms, reckoned ${slowest.roundMs} ms`)
  }
})
