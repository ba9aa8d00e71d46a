import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LimitPlan, sharePlan } from '../../src/limiter/plan.ts'
import { checkPlan, planProblems, utilisationProblems } from '../../src/limiter/plan-check.ts'
import { PLAN } from './sample.ts'

const DEFAULTS: LimitPlan = {
  global: { rate: 15, burst: 1000 },
  platforms: {
    instagram: { rate: 3, burst: 200 },
    youtube: { rate: 2.5, burst: 150 },
    tiktok: { rate: 1.5, burst: 100 },
  },
  endpoints: {
    instagram: { user_profile: { limit: 30, windowMs: 60_000 }, user_media: { limit: 20, windowMs: 60_000 } },
  },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 1_000,
  grantTimeoutMs: 31_000,
}

test('the default limits are in order, and reach 95% with a second of latency', () => {
  assert.deepEqual(planProblems(DEFAULTS), [])
  assert.deepEqual(utilisationProblems(DEFAULTS, 1_000), [])
})

test('a burst that the jitter leaves nothing of is refused, with what to do', () => {
  const plan = { ...PLAN, platforms: { tiny: { rate: 10, burst: 5 } } }
  assert.throws(() => checkPlan(plan), {
    code: 'LIMIT_PLAN',
    kind: 'usage',
    message:
      /platform:tiny: burst 5 less 10 a second × 500 ms of arrival jitter leaves 0\.00; expected at least 1/,
  })
})

test('all problems of a plan are told at once', () => {
  const plan: LimitPlan = {
    ...PLAN,
    global: { rate: 0, burst: 1 },
    endpoints: { instagram: { 'a/b': { limit: 0.5, windowMs: 0 } } },
    grantTimeoutMs: 10,
  }
  const problems = planProblems(plan)
  assert.equal(problems.length, 5)
  for (const about of [
    /^global: rate 0;/,
    /The name "a\/b"/,
    /limit 0\.5/,
    /windowMs 0/,
    /grantTimeoutMs=10/,
  ]) {
    assert.ok(
      problems.some((problem) => about.test(problem)),
      String(about),
    )
  }
})

test('a window that is too short for the latency is told, with how long it would have to be', () => {
  const endpoints = {
    instagram: { fast: { limit: 5, windowMs: 1_000 }, slow: { limit: 5, windowMs: 3_800 } },
  }
  assert.deepEqual(utilisationProblems({ ...PLAN, endpoints }, 200), [
    'endpoint:instagram/fast: of 5 per 1000 ms only 83.3% can be used, with 200 ms until a reply begins (limits.latency); ' +
      'expected at least 95%: state the limit over a longer window (3800 ms or more) if the platform measures so, ' +
      'or lower the delay if it is less.',
  ])
})

test('the parts of a divided plan never add up to more than the whole', () => {
  for (const parts of [1, 2, 3, 7, 10, 49]) {
    const part = sharePlan(DEFAULTS, 1 / parts)
    assert.ok(part.platforms.youtube!.rate * parts <= 2.5 + 1e-9)
    assert.equal(part.platforms.youtube!.burst, Math.floor(150 / parts))
    assert.equal(part.endpoints.instagram!.user_media!.limit, Math.floor(20 / parts))
    assert.equal(part.defaultEndpoint.limit, Math.floor(60 / parts))
  }
})
