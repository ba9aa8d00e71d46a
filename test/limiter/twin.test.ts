import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { block, decide, levels } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import {
  blockQuestion,
  type ColdStart,
  decideQuestion,
  levelsQuestion,
  type Question,
} from '../../src/limiter/question.ts'
import { apply, emptyState, type LimiterState } from '../../src/limiter/state.ts'
import { need } from '../need.ts'

const SCRIPT = readFileSync(new URL('../../src/limiter/decide.lua', import.meta.url), 'utf8')
/** Everything in the hash as text, numbers without exponent: what is stored must agree as well as what is answered. */
const DUMP = `
local function text(value)
  if type(value) == 'number' then return string.format('%.0f', value) end
  if type(value) ~= 'table' then return value end
  local all = {}
  for i = 1, #value do all[i] = text(value[i]) end
  return all
end
local fields = redis.call('HGETALL', KEYS[1])
for i = 2, #fields, 2 do fields[i] = text(cmsgpack.unpack(fields[i])) end
return fields`

const PLAN: LimitPlan = {
  global: { rate: 15, burst: 60 },
  platforms: { p: { rate: 7, burst: 20 }, q: { rate: 0.7, burst: 9 } },
  endpoints: {
    p: {
      a: { limit: 6, windowMs: 3_000 },
      b: { limit: 13, windowMs: 10_000 },
      'b!': { limit: 4, windowMs: 7, mode: 'bounded' },
      c: { limit: 9, windowMs: 2_000, mode: 'bounded' },
    },
  },
  defaultEndpoint: { limit: 8, windowMs: 4_000 },
  arrivalJitterMs: 250,
  grantTimeoutMs: 2_000,
}

const ENDPOINTS = ['a', 'b', 'b!', 'c', 'other']
const platform = fc.constantFrom('p', 'p', 'q')
const endpoint = fc.constantFrom(...ENDPOINTS)
const wants = fc.array(
  fc.record({ endpoint, count: fc.integer({ min: 0, max: 12 }), cost: fc.constantFrom(1, 1, 1, 2, 4) }),
  { maxLength: 4 },
)
/** How far the clock goes before a step, ms: mostly forwards, often to where something is just due; sometimes it is set back. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 70_000) },
  { weight: 4, arbitrary: fc.double({ min: 0, max: 800, noNaN: true }) },
  { weight: 1, arbitrary: fc.double({ min: 0, max: 12_000, noNaN: true }) },
  { weight: 1, arbitrary: fc.double({ min: -5_000, max: 0, noNaN: true }) },
)
/** Which server it is: now and then a fail-over. */
const server = fc.constantFrom(...Array<string>(30).fill('a'), 'b', '')
const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('decide' as const),
      platform,
      wants,
      // Which of the grants so far are acknowledged, by their place from the end, and how much of them.
      acks: fc.array(fc.record({ back: fc.nat(12), units: fc.integer({ min: 1, max: 9 }) }), {
        maxLength: 5,
      }),
      // A call that is repeated, sometimes.
      repeat: fc.option(fc.nat(4), { freq: 5, nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('block' as const, 'block' as const, 'unblock' as const),
      platform,
      endpoint: fc.option(endpoint, { nil: undefined }),
      forMs: fc.integer({ min: 0, max: 3_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('levels' as const), platform }) },
)
const scenario = fc.record({
  coldStart: fc.constantFrom<ColdStart>('full', 'full', 'empty'),
  startMs: fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
  steps: fc.array(fc.tuple(step, server, action), { minLength: 1, maxLength: 25 }),
})

type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never

test('the script and its TypeScript twin agree in every answer and in everything they store', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const redis = new Redis(address, { keyPrefix: '' })
  t.after(() => redis.quit())
  await fc.assert(
    fc.asyncProperty(scenario, (given) => runBoth(redis, given)),
    { numRuns: 250, endOnFailure: false },
  )
})

async function runBoth(redis: Redis, { coldStart, startMs, steps }: Scenario): Promise<void> {
  const prefix = `{twin-${randomUUID()}}`
  const keys = new Set([`${prefix}:limits`])
  const state = emptyState()
  const past: { question: Question; grants: { endpoint: string; grant: string }[] }[] = []
  let nowUs = startMs * 1000
  const ask = async (question: Question, runId: string) => {
    const used = [`${prefix}:limits`]
    if (question.op === 'decide') used.push(`${prefix}:answer:${question.platform}:${question.id}`)
    for (const key of used) keys.add(key)
    const request = JSON.stringify({ ...question, nowUs, runId })
    return redis.eval(SCRIPT, used.length, ...used, request) as Promise<unknown[]>
  }
  try {
    for (const [index, [stepMs, runId, action]] of steps.entries()) {
      nowUs = Math.floor(nowUs + stepMs * 1000)
      if (action.kind === 'levels') {
        const question = levelsQuestion(PLAN, action.platform, coldStart)
        const expected = levels(state, question, nowUs, runId).map((level) => [
          level.remaining,
          level.blockedUntilUs,
          level.granted,
          level.spanUs,
        ])
        assert.deepEqual(await ask(question, runId), expected)
        continue
      }
      if (action.kind !== 'decide') {
        const target =
          action.endpoint === undefined
            ? { platform: action.platform }
            : { platform: action.platform, endpoint: action.endpoint }
        const question = blockQuestion(PLAN, target, action.forMs, coldStart, action.kind)
        apply(state, question, block(state, question, nowUs, runId))
        await ask(question, runId)
      } else {
        const known = past.flatMap((call) => call.grants)
        const acks = action.acks.flatMap(({ back, units }) => {
          const grant = known.at(-1 - back)
          return grant === undefined ? [] : [{ ...grant, units }]
        })
        const repeated = action.repeat === undefined ? undefined : past.at(-1 - action.repeat)?.question
        const fresh = decideQuestion(
          PLAN,
          { requestId: `r${index}`, platform: action.platform, wants: action.wants, acks },
          coldStart,
        ).question
        const question = repeated?.op === 'decide' ? repeated : fresh
        const { verdicts, cold, changes } = decide(state, question, nowUs, runId)
        apply(state, question, changes)
        const expected = verdicts.map((v) => [v.granted, v.waitUs, v.level, v.remaining])
        assert.deepEqual(await ask(question, runId), [cold ? 1 : 0, ...expected])
        if (question === fresh) {
          const grants = fresh.wants.flatMap((want, place) => {
            const name = { endpoint: fresh.windows[want.window]!.endpoint, grant: `${fresh.id}/${place}` }
            return verdicts[place]!.granted > 0 ? [name] : []
          })
          past.push({ question, grants })
        }
      }
      assert.deepEqual(await dumpOf(redis, `${prefix}:limits`), packed(state))
    }
  } finally {
    await redis.del(...keys)
  }
}

async function dumpOf(redis: Redis, key: string): Promise<Record<string, unknown>> {
  const flat = (await redis.eval(DUMP, 1, key)) as unknown[]
  const fields: Record<string, unknown> = {}
  for (let i = 0; i < flat.length; i += 2) fields[String(flat[i])] = flat[i + 1]
  return fields
}

/** The twin's state in the script's layout, numbers as text. */
function packed(state: LimiterState): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  const text = (value: number) => value.toFixed(0)
  const slots = (recent: readonly { index: number; units: number }[]) =>
    recent.flatMap(({ index, units }) => [text(index), text(units)])
  if (state.core !== undefined) {
    const { runId, epochUs, lastUs, offsetUs, tatUs, recent } = state.core
    fields.core = [runId, text(epochUs), text(lastUs), text(offsetUs), text(tatUs), slots(recent)]
  }
  for (const [name, p] of state.platforms) {
    fields[`p:${name}`] = [
      text(p.epochUs),
      text(p.tatUs),
      text(p.blockedUntilUs),
      p.cursor,
      text(p.served),
      slots(p.recent),
    ]
  }
  for (const [name, e] of state.endpoints) {
    fields[`e:${name}`] = [
      text(e.epochUs),
      text(e.blockedUntilUs),
      e.log.flatMap(({ timeUs, units }) => [text(timeUs), text(units)]),
      e.pending.flatMap(({ grant, units, byUs }) => [grant, text(units), text(byUs)]),
      slots(e.recent),
    ]
  }
  return fields
}
