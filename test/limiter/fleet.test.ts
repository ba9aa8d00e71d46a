import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decide } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { type ColdStart, decideQuestion, grantsOf } from '../../src/limiter/question.ts'
import { apply, emptyState } from '../../src/limiter/state.ts'
import { clientClocks, twoCounters, unionOfThree } from './controls.ts'
import { type Decider, type FleetOptions, runFleet } from './fleet.ts'
import { utilisation, violations } from './oracle.ts'

const AMPLE = { rate: 10_000, burst: 100_000 }
const BASE = {
  arrivalJitterMs: 1_000,
  grantTimeoutMs: 30_000,
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
  return (demand, atMs) => {
    if (atMs >= lossAtMs && !lost) {
      lost = true
      state = emptyState()
    }
    const compiled = decideQuestion(plan, demand, coldStart)
    const decision = decide(state, compiled.question, Math.floor((EPOCH_MS + atMs) * 1000))
    apply(state, compiled.question, decision.changes)
    return grantsOf(demand, compiled, decision.verdicts)
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
    crashEveryMs: 180_000,
    ...options,
  }
}

for (const daemons of [1, 3, 10]) {
  test(`keeps every window and uses 97% of it, ${daemons} daemons that crash and lose replies`, (t) => {
    const result = runFleet(fleetOf(WINDOWS, daemons))
    assert.deepEqual(violations(WINDOWS, result.arrivals), [])
    for (const [level, share] of utilisation(WINDOWS, result.arrivals, STEADY)) {
      if (!level.startsWith('endpoint:')) continue
      t.diagnostic(`${level} ${(share * 100).toFixed(2)}%`)
      assert.ok(share >= 0.97, `${level} is used to ${share}`)
    }
    tell(t, result)
  })

  test(`keeps every bucket and uses 99% of the one that decides, ${daemons} daemons that crash and lose replies`, (t) => {
    const result = runFleet(fleetOf(BUCKETS, daemons))
    assert.deepEqual(violations(BUCKETS, result.arrivals), [])
    const share = utilisation(BUCKETS, result.arrivals, STEADY).get('platform:p')!
    t.diagnostic(`platform:p ${(share * 100).toFixed(2)}%`)
    assert.ok(share >= 0.99, `platform:p is used to ${share}`)
    tell(t, result)
  })
}

test('asks Redis well under once for a permit when daemons gather demands, and still uses the limits', (t) => {
  // A bucket saves up what is not taken at once. A window does not: there, gathering costs gap / window.
  for (const [plan, level, least, gapMs] of [
    [BUCKETS, 'platform:p', 0.99, 1_000],
    [WINDOWS, 'endpoint:p/middle', 0.97, 250],
  ] as const) {
    const result = runFleet(fleetOf(plan, 3, { gapMs }))
    assert.deepEqual(violations(plan, result.arrivals), [])
    const share = utilisation(plan, result.arrivals, STEADY).get(level)!
    assert.ok(share >= least, `${level} is used to ${share}`)
    assert.ok(result.calls < 0.7 * result.arrivals.length, `${result.calls} calls`)
    tell(t, result)
  }
})

test('keeps all levels when a window and the buckets decide together', (t) => {
  const result = runFleet(fleetOf(MIXED, 4))
  assert.deepEqual(violations(MIXED, result.arrivals), [])
  const used = utilisation(MIXED, result.arrivals, STEADY)
  t.diagnostic(JSON.stringify([...used]))
  assert.ok(used.get('platform:p')! >= 0.99)
  // Its fair share of the bucket is more than its window holds: it must get all of the window.
  assert.ok(used.get('endpoint:p/small')! >= 0.97)
})

test('keeps every window when requests are under way for much longer than any bound', () => {
  const result = runFleet(fleetOf(WINDOWS, 5, { transitMsMax: 14_000, seed: 99 }))
  assert.deepEqual(violations(WINDOWS, result.arrivals), [])
})

test('keeps all levels when the store loses everything in the middle', () => {
  for (const plan of [WINDOWS, BUCKETS, MIXED]) {
    for (const lossAtMs of [200_017, 431_113]) {
      const lossy = ours(plan, { lossAtMs, coldStart: 'empty' })
      const result = runFleet(
        fleetOf(plan, 3, { decide: lossy, transitMsMax: plan === WINDOWS ? 10_000 : 500 }),
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

function tell(t: { diagnostic(text: string): void }, result: ReturnType<typeof runFleet>): void {
  const { arrivals, calls, crashes, lostReplies, repeatedCalls, droppedPermits, sent } = result
  const perPermit = (calls / arrivals.length).toFixed(2)
  t.diagnostic(
    JSON.stringify({
      arrivals: arrivals.length,
      perPermit,
      crashes,
      lostReplies,
      repeatedCalls,
      droppedPermits,
      sent,
    }),
  )
}
