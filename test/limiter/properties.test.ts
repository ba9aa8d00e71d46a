import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Ack } from '../../src/job/permit.ts'
import { decide, levels } from '../../src/limiter/decide.ts'
import { endpointLevel, type LimitPlan } from '../../src/limiter/plan.ts'
import { Questions } from '../../src/limiter/questions.ts'
import { apply, emptyState, type LimiterState } from '../../src/limiter/state.ts'
import { type Arrival, violations } from './oracle.ts'

const PLAN: LimitPlan = {
  global: { rate: 11, burst: 30, counts: 'units' },
  platforms: { p: { rate: 7, burst: 20, counts: 'units' } },
  endpoints: {
    p: {
      a: { limit: 6, windowMs: 3_000, counts: 'units' },
      b: { limit: 13, windowMs: 9_000, counts: 'units' },
    },
  },
  defaultEndpoint: { limit: 9, windowMs: 5_000, counts: 'units' },
  arrivalJitterMs: 200,
  grantTimeoutMs: 2_000,
}
const QUESTIONS = new Questions(PLAN, { coldStart: 'full' })
const EPOCH_US = 1_760_000_000_000_000

const wants = fc.uniqueArray(
  fc.record({
    endpoint: fc.constantFrom('a', 'b', 'c'),
    count: fc.integer({ min: 0, max: 30 }),
    cost: fc.constantFrom(1, 1, 2, 5),
  }),
  { selector: ({ endpoint }) => endpoint, maxLength: 3 },
)
/** A call: how much later than the one before, what is wanted, and whether its permits arrive and are acknowledged at once. */
const call = fc.record({
  afterMs: fc.double({ min: 0, max: 4_000, noNaN: true }),
  wants,
  acked: fc.boolean(),
})
const history = fc.array(call, { maxLength: 20 })

interface Past {
  readonly state: LimiterState
  readonly nowUs: number
}

function ask(
  past: Past,
  requestId: string,
  given: readonly { endpoint: string; count: number; cost: number }[],
  acks: readonly Ack[] = [],
) {
  const demand = { requestId, platform: 'p', wants: given, acks }
  const { question } = QUESTIONS.decide(demand)
  return { question, ...decide(past.state, question, past.nowUs) }
}

function live(calls: readonly (typeof call extends fc.Arbitrary<infer T> ? T : never)[]): Past {
  const state = emptyState()
  let nowUs = EPOCH_US
  for (const [index, { afterMs, wants: given, acked }] of calls.entries()) {
    nowUs += Math.floor(afterMs * 1000)
    const { question, verdicts, changes } = ask({ state, nowUs }, `r${index}`, given)
    apply(state, question, changes)
    if (!acked) continue
    const acks = question.wants.map(({ lane }, place) => ({
      endpoint: lane,
      grant: `r${index}/${place}`,
      arrived: Math.max(1, verdicts[place]!.granted),
    }))
    const told = ask({ state, nowUs }, `ack${index}`, [], acks)
    apply(state, told.question, told.changes)
  }
  return { state, nowUs }
}

test('a demand that gets nothing leaves the state as it is, to the byte', () => {
  fc.assert(
    fc.property(history, wants, (calls, given) => {
      // The very first call is always remembered: it begins the epoch.
      const past = live([{ afterMs: 0, wants: [], acked: false }, ...calls])
      const { question, verdicts, changes } = ask(past, 'last', given)
      fc.pre(verdicts.every(({ granted }) => granted === 0))
      const before = JSON.stringify(past.state, mapsToo)
      apply(past.state, question, changes)
      assert.equal(JSON.stringify(past.state, mapsToo), before)
    }),
  )
})

test('grants no more than was wanted, nor than any level holds', () => {
  fc.assert(
    fc.property(history, wants, (calls, given) => {
      const past = live(calls)
      const before = remaining(past)
      const { question, verdicts } = ask(past, 'last', given)
      let units = 0
      for (const [place, { granted }] of verdicts.entries()) {
        const { lane, count, charges } = question.wants[place]!
        const cost = charges[0]!
        assert.ok(granted >= 0 && granted <= count)
        assert.ok(granted * cost <= before.get(endpointLevel('p', lane))!)
        units += granted * cost
      }
      assert.ok(units <= Math.min(before.get('global')!, before.get('platform:p')!))
      // And no less: whoever got less than wanted is held back by something.
      for (const [place, { granted, waitUs, level }] of verdicts.entries()) {
        const less = granted < question.wants[place]!.count
        assert.equal(less, waitUs > 0)
        assert.equal(less, level > 0)
      }
    }),
  )
})

test('asking again after the wait succeeds, and a microsecond earlier it fails', () => {
  const alone = fc.record({
    endpoint: fc.constantFrom('a', 'b', 'c'),
    count: fc.constant(1),
    cost: fc.constantFrom(1, 2, 5),
  })
  let denied = 0
  fc.assert(
    fc.property(history, alone, (calls, given) => {
      // Everything that can be acknowledged is: the wait supposes it.
      const past = live(calls.map((one) => ({ ...one, acked: true })))
      const [verdict] = ask(past, 'first', [given]).verdicts
      if (verdict!.granted === 1) return
      denied++
      const at = (nowUs: number) => ask({ state: past.state, nowUs }, 'second', [given]).verdicts[0]!.granted
      assert.equal(at(past.nowUs + verdict!.waitUs), 1)
      assert.equal(at(past.nowUs + verdict!.waitUs - 1), 0)
    }),
    { numRuns: 300 },
  )
  assert.ok(denied > 20, `only ${denied} denials were seen`)
})

test('what arrives as it is granted is within every limit, also when the clock is set back now and then', () => {
  const backMs = fc.oneof(
    { weight: 5, arbitrary: fc.constant(0) },
    fc.double({ min: 0, max: 9_000, noNaN: true }),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(call, backMs), { maxLength: 40 }), (calls) => {
      const state = emptyState()
      const arrivals: Arrival[] = []
      let trueUs = EPOCH_US
      let setBackUs = 0
      for (const [index, [{ afterMs, wants: given }, back]] of calls.entries()) {
        trueUs += Math.floor(afterMs * 1000)
        setBackUs += Math.floor(back * 1000)
        const { question, verdicts, changes } = ask({ state, nowUs: trueUs - setBackUs }, `r${index}`, given)
        apply(state, question, changes)
        for (const [place, { granted }] of verdicts.entries()) {
          const { lane: endpoint, charges } = question.wants[place]!
          const cost = charges[0]!
          const arrival = { atMs: (trueUs - EPOCH_US) / 1000, platform: 'p', endpoint, cost }
          for (let i = 0; i < granted; i++) arrivals.push(arrival)
        }
      }
      assert.deepEqual(violations(PLAN, arrivals), [])
    }),
  )
})

/** Units that each level has, by its name. */
function remaining({ state, nowUs }: Past): Map<string, number> {
  const endpoints = { p: { ...PLAN.endpoints.p, c: PLAN.defaultEndpoint } }
  const question = new Questions({ ...PLAN, endpoints }, { coldStart: 'full' }).levels('p')
  const readings = levels(state, question, nowUs)
  return new Map(question.levels.map(({ name }, index) => [name, readings[index]!.remaining]))
}

function mapsToo(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value
}
