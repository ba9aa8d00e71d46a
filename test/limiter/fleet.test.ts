import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decide } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import type { ColdStart } from '../../src/limiter/question.ts'
import { Questions } from '../../src/limiter/questions.ts'
import { apply, emptyState } from '../../src/limiter/state.ts'
import { clientClocks, twoCounters, unionOfThree } from './controls.ts'
import { type Decider, type FleetOptions, runFleet } from './fleet.ts'
import { utilisation, violations } from './oracle.ts'

const AMPLE = { rate: 10_000, burst: 100_000 }
const BASE = {
  arrivalJitterMs: 1_000,
  grantTimeoutMs: 31_000,
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
}
/** Windows decide. */
const WINDOWS: LimitPlan = {
  ...BASE,
  global: AMPLE,
  platforms: { p: AMPLE },
  endpoints: {
    p: {
      small: { limit: 20, windowMs: 60_000 },
      middle: { limit: 60, windowMs: 60_000 },
      short: { limit: 100, windowMs: 30_000 },
    },
  },
}
/** The platform's bucket decides. */
const BUCKETS: LimitPlan = {
  ...BASE,
  global: { rate: 20, burst: 200 },
  platforms: { p: { rate: 6, burst: 40 } },
  endpoints: { p: { small: { limit: 600, windowMs: 60_000 }, middle: { limit: 600, windowMs: 60_000 } } },
}
/** The platform's bucket and one window decide. */
const MIXED: LimitPlan = {
  ...BASE,
  global: { rate: 7, burst: 50 },
  platforms: { p: { rate: 6, burst: 30 } },
  endpoints: { p: { small: { limit: 30, windowMs: 60_000 }, middle: { limit: 600, windowMs: 60_000 } } },
}

const WINDOW_LEVELS = Object.keys(WINDOWS.endpoints.p!).map((endpoint) => `endpoint:p/${endpoint}`)

const UNTIL_MS = 900_000
const STEADY = { fromMs: 180_000, toMs: UNTIL_MS }
/** The store's clock does not begin at zero. */
const EPOCH_MS = 1_760_000_000_123

function ours(
  plan: LimitPlan,
  { lossAtMs = Number.POSITIVE_INFINITY, coldStart = 'full' as ColdStart } = {},
): Decider {
  let state = emptyState()
  let lost = false
  const fleet = new Map<number, Questions>()
  const questionsOf = (daemon: number) => {
    const known = fleet.get(daemon) ?? new Questions(plan, { coldStart, daemon: `d${daemon}` })
    fleet.set(daemon, known)
    return known
  }
  return (demand, atMs, daemon) => {
    if (atMs >= lossAtMs && !lost) {
      lost = true
      state = emptyState()
    }
    const questions = questionsOf(daemon)
    const compiled = questions.decide(demand)
    const decision = decide(state, compiled.question, Math.floor((EPOCH_MS + atMs) * 1000))
    apply(state, compiled.question, decision.changes)
    return questions.grantsOf(demand, compiled, decision.verdicts)
  }
}

function fleetOf(plan: LimitPlan, daemons: number, options: Partial<FleetOptions> = {}): FleetOptions {
  return {
    seed: 7 + daemons,
    daemons,
    platform: 'p',
    endpoints: Object.keys(plan.endpoints.p ?? {}),
    untilMs: UNTIL_MS,
    useWithinMs: 500,
    transitMsMax: 500,
    decide: ours(plan),
    ...options,
  }
}

/** What goes wrong in a bad quarter of an hour. */
const FAULTS = { crashEveryMs: 180_000, stallEveryMs: 60_000, abortShare: 0.01 }

for (const daemons of [1, 3, 10, 50]) {
  test(`keeps every window and uses 97% of it, ${daemons} daemons`, (t) => {
    const result = runFleet(fleetOf(WINDOWS, daemons))
    assert.deepEqual(violations(WINDOWS, result.arrivals), [])
    const used = utilisation(WINDOWS, result.arrivals, STEADY)
    tell(t, result, used)
    for (const level of WINDOW_LEVELS) assert.ok(used.get(level)! >= 0.97, `${level} ${used.get(level)}`)
  })

  test(`keeps every bucket and uses 99% of the one that decides, ${daemons} daemons that crash, stall and abort`, (t) => {
    const result = runFleet(fleetOf(BUCKETS, daemons, FAULTS))
    assert.deepEqual(violations(BUCKETS, result.arrivals), [])
    const used = utilisation(BUCKETS, result.arrivals, STEADY)
    tell(t, result, used)
    assert.ok(used.get('platform:p')! >= 0.99, `${used.get('platform:p')}`)
  })

  test(`keeps every window, ${daemons} daemons that crash, stall, abort, and whose requests are under way for long`, (t) => {
    for (const seed of [1, 2, 3]) {
      const result = runFleet(fleetOf(WINDOWS, daemons, { ...FAULTS, transitMsMax: 14_000, seed }))
      assert.deepEqual(violations(WINDOWS, result.arrivals), [])
      const used = utilisation(WINDOWS, result.arrivals, STEADY)
      if (seed === 1) tell(t, result, used)
      // A permit whose request was aborted or lost with its daemon counts until its time-out: that is what faults cost.
      for (const level of WINDOW_LEVELS) assert.ok(used.get(level)! >= 0.85, `${level} ${used.get(level)}`)
    }
  })
}

test('daemons share what there is evenly, also single units', () => {
  for (const [plan, daemons, least] of [
    [BUCKETS, 3, 0.9],
    [BUCKETS, 10, 0.85],
    [WINDOWS, 3, 0.85],
    [WINDOWS, 10, 0.8],
    [MIXED, 10, 0.85],
  ] as const) {
    const { sent } = runFleet(fleetOf(plan, daemons))
    const mean = sent.reduce((sum, one) => sum + one, 0) / daemons
    for (const one of sent) assert.ok(one >= least * mean && one <= (2 - least) * mean, JSON.stringify(sent))
  }
})

test('endpoints share what the buckets leave evenly, also when their windows are almost as narrow', (t) => {
  // Max-min: the windows of three are less than a quarter of the bucket, and have to be used up; the fourth has the rest.
  const window = (limit: number) => ({ limit, windowMs: 20_000 })
  const endpoints = {
    p: { profile: window(80), media: window(280), followers: window(80), comments: window(80) },
  }
  const plan = { ...BUCKETS, global: AMPLE, platforms: { p: { rate: 20, burst: 60 } }, endpoints }
  for (const daemons of [1, 3, 10]) {
    const used = utilisation(plan, runFleet(fleetOf(plan, daemons)).arrivals, STEADY)
    t.diagnostic(`${daemons} daemons: ${JSON.stringify([...used])}`)
    assert.ok(used.get('platform:p')! > 0.99)
    for (const endpoint of ['profile', 'followers', 'comments'])
      assert.ok(
        used.get(`endpoint:p/${endpoint}`)! > 0.93,
        `${endpoint} ${used.get(`endpoint:p/${endpoint}`)}`,
      )
  }
})

test('asks the store well under once for a permit when a daemon gets several a second', (t) => {
  for (const [plan, daemons, most] of [
    [BUCKETS, 1, 0.5],
    [BUCKETS, 3, 0.5],
    [WINDOWS, 1, 0.35],
    [WINDOWS, 3, 0.6],
  ] as const) {
    const { calls, arrivals } = runFleet(fleetOf(plan, daemons))
    const share = calls / arrivals.length
    t.diagnostic(`${daemons} daemons: ${share.toFixed(2)} calls for a permit`)
    assert.ok(share <= most, `${share}`)
  }
})

test('keeps all levels when a window and the buckets decide together', (t) => {
  for (const daemons of [4, 50]) {
    const result = runFleet(fleetOf(MIXED, daemons))
    assert.deepEqual(violations(MIXED, result.arrivals), [])
    const used = utilisation(MIXED, result.arrivals, STEADY)
    tell(t, result, used)
    assert.ok(used.get('platform:p')! >= 0.99)
    // Its fair share of the bucket is more than its window holds: it must get all of the window.
    assert.ok(used.get('endpoint:p/small')! >= 0.97)
  }
})

test('keeps all levels when the store loses everything in the middle', () => {
  for (const plan of [WINDOWS, BUCKETS, MIXED]) {
    for (const lossAtMs of [200_017, 431_113]) {
      const lossy = ours(plan, { lossAtMs, coldStart: 'empty' })
      const result = runFleet(
        fleetOf(plan, 3, { ...FAULTS, decide: lossy, transitMsMax: plan === WINDOWS ? 10_000 : 500 }),
      )
      assert.deepEqual(violations(plan, result.arrivals), [])
      assert.ok(result.arrivals.some(({ atMs }) => atMs > lossAtMs + 120_000))
    }
  }
})

test('the oracle finds fault with a store that begins anew as if nothing had been granted', () => {
  const decideAnew = ours(WINDOWS, { lossAtMs: 431_113, coldStart: 'full' })
  assert.notEqual(
    violations(WINDOWS, runFleet(fleetOf(WINDOWS, 3, { decide: decideAnew })).arrivals).length,
    0,
  )
})

test('the oracle finds fault with the two-counter window', (t) => {
  const found = violations(WINDOWS, runFleet(fleetOf(WINDOWS, 3, { decide: twoCounters(WINDOWS) })).arrivals)
  t.diagnostic(`${found.length} violations`)
  assert.ok(found.length > 50)
})

test('the oracle finds fault with a union of three limiters', (t) => {
  const found = violations(WINDOWS, runFleet(fleetOf(WINDOWS, 3, { decide: unionOfThree(WINDOWS) })).arrivals)
  t.diagnostic(`${found.length} violations`)
  assert.ok(found.length > 50)
})

test("the oracle finds fault with the daemons' own clocks", () => {
  const decider = clientClocks(ours(WINDOWS), 2_000)
  assert.notEqual(violations(WINDOWS, runFleet(fleetOf(WINDOWS, 3, { decide: decider })).arrivals).length, 0)
})

function tell(
  t: { diagnostic(text: string): void },
  { arrivals, calls, sent, ...counts }: ReturnType<typeof runFleet>,
  used: ReadonlyMap<string, number>,
): void {
  const shares = [...used].map(([level, share]) => `${level} ${(share * 100).toFixed(1)}%`)
  const perPermit = (calls / arrivals.length).toFixed(2)
  const least = Math.min(...sent)
  t.diagnostic(`${arrivals.length} arrivals, ${perPermit} calls each; ${shares.join(', ')}`)
  t.diagnostic(`${JSON.stringify(counts)}, sent ${least} to ${Math.max(...sent)} by each`)
}
