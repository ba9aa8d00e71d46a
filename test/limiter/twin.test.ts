import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { Want } from '../../src/job/permit.ts'
import { charge, decide, forgive, learn, levels } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import type { ColdStart, Question } from '../../src/limiter/question.ts'
import { Questions } from '../../src/limiter/questions.ts'
import { apply, emptyState, type LevelRecord, type LimiterState } from '../../src/limiter/state.ts'
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
  global: { rate: 15, burst: 60, counts: 'units' },
  platforms: { p: { rate: 7, burst: 20, counts: 'units' }, q: { rate: 0.7, burst: 9 } },
  endpoints: {
    p: {
      a: { limit: 6, windowMs: 3_000 },
      b: { limit: 13, windowMs: 10_000, counts: 'units' },
      'b!': { limit: 4, windowMs: 7, mode: 'bounded', counts: 'units' },
      c: { limit: 9, windowMs: 2_000, mode: 'bounded' },
    },
  },
  defaultEndpoint: { limit: 8, windowMs: 4_000 },
  credentials: { p: { limit: 11, windowMs: 5_000, counts: 'units' }, q: { rate: 3, burst: 7 } },
  quotas: {
    p: { limit: 40, period: 'day', timeZone: 'America/Los_Angeles' },
    q: { limit: 25, period: 'hour', timeZone: 'UTC', per: 'platform' },
  },
  arrivalJitterMs: 250,
  grantTimeoutMs: 2_000,
}

const ENDPOINTS = ['a', 'b', 'b!', 'c', 'other']
const DAEMONS = ['', 'one', 'two', 'three']
const platform = fc.constantFrom('p', 'p', 'q')
const endpoint = fc.constantFrom(...ENDPOINTS)
const wants = fc.array(
  fc.record({
    endpoint,
    credential: fc.constantFrom(undefined, undefined, 'second'),
    count: fc.integer({ min: 0, max: 12 }),
    cost: fc.constantFrom(1, 1, 1, 2, 4),
    waiting: fc.constantFrom(undefined, 40),
  }),
  { maxLength: 4 },
)
/** How far the clock goes before a step, ms: mostly forwards, often to where something is just due; sometimes it is set back. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      0,
      250,
      500,
      1_000,
      2_000,
      3_000,
      5_000,
      10_000,
      60_000,
      70_000,
      3_600_000,
      86_400_000,
    ),
  },
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
      daemon: fc.constantFrom(...DAEMONS),
      permitsMax: fc.constantFrom(undefined, undefined, 0, 3, 10),
      // It has used its share since, or stops; and what it owes.
      returned: fc.constantFrom(false, false, true),
      leaves: fc.constantFrom(false, false, false, true),
      owes: fc.constantFrom(0, 0, 0, 5),
      // Which of the grants so far are acknowledged, by their place from the end, and how many of them.
      acks: fc.array(fc.record({ back: fc.nat(12), arrived: fc.integer({ min: 1, max: 9 }) }), {
        maxLength: 5,
      }),
      // A call that is repeated, sometimes.
      repeat: fc.option(fc.nat(4), { freq: 5, nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('learn' as const, 'learn' as const, 'forgive' as const),
      platform,
      endpoint: fc.option(endpoint, { nil: undefined }),
      spentMs: fc.option(fc.integer({ min: 0, max: 3_000 }), { nil: undefined }),
      blockMs: fc.option(fc.integer({ min: 0, max: 3_000 }), { nil: undefined }),
      rejected: fc.boolean(),
      share: fc.constantFrom(undefined, undefined, 0.07, 0.5, 0.933),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('charge' as const),
      endpoint,
      points: fc.integer({ min: 1, max: 30 }),
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
    { numRuns: Number(process.env.MILLRACE_TWIN_RUNS ?? 250), endOnFailure: false },
  )
})

async function runBoth(redis: Redis, { coldStart, startMs, steps }: Scenario): Promise<void> {
  const prefix = `{twin-${randomUUID()}}`
  const [levelsKey, queuesKey] = [`${prefix}:levels`, `${prefix}:queues`]
  const keys = new Set([levelsKey, queuesKey])
  const state = emptyState()
  const past: { question: Question; grants: Named[] }[] = []
  let nowUs = startMs * 1000
  const fleet = new Map(
    DAEMONS.map((daemon) => {
      const membership = daemon === '' ? undefined : { daemonsMax: 2, graceMs: 3_000, leaseMs: 65_000 }
      return [daemon, new Questions(PLAN, { coldStart, daemon, membership, nowMs: () => nowUs / 1000 })]
    }),
  )
  const ask = async (question: Question, runId: string) => {
    const used = [levelsKey, queuesKey]
    if (question.op === 'decide') used.push(`${prefix}:answer:${question.platform}:${question.id}`)
    for (const key of used) keys.add(key)
    const request = JSON.stringify({ ...question, nowUs, runId })
    return redis.eval(SCRIPT, used.length, ...used, request) as Promise<unknown[]>
  }
  try {
    for (const [index, [stepMs, runId, action]] of steps.entries()) {
      nowUs = Math.floor(nowUs + stepMs * 1000)
      const questions = fleet.get('daemon' in action ? action.daemon : '')!
      if (action.kind === 'levels') {
        const question = questions.levels(action.platform)
        const expected = levels(state, question, nowUs, runId).map((level) => [
          level.remaining,
          level.blockedUntilUs,
          level.factor,
          level.endsUs,
          level.granted,
          level.spanUs,
          level.waiting,
        ])
        assert.deepEqual(await ask(question, runId), expected)
        continue
      }
      if (action.kind === 'charge') {
        const question = questions.charge({ platform: 'p', endpoint: action.endpoint }, action.points)
        const { remaining, waitUs, changes } = charge(state, question, nowUs, runId)
        apply(state, question, changes)
        assert.deepEqual(await ask(question, runId), [remaining, waitUs])
      } else if (action.kind === 'decide') {
        const known = past.flatMap((call) => call.grants)
        const acks = action.acks.flatMap(({ back, arrived }) => {
          const grant = known.at(-1 - back)
          return grant === undefined ? [] : [{ ...grant, arrived }]
        })
        const repeated = action.repeat === undefined ? undefined : past.at(-1 - action.repeat)?.question
        const { permitsMax } = action
        questions.returned = action.returned
        if (action.owes > 0) questions.owe(`quota:${action.platform}`, action.owes)
        if (action.owes > 0) questions.owe(`quota:${action.platform}/main`, action.owes)
        const demand = {
          requestId: `r${index}`,
          platform: action.platform,
          wants: action.wants,
          acks,
          permitsMax,
        }
        const { question: fresh, order } = questions.decide(demand, action)
        const question = repeated?.op === 'decide' ? repeated : fresh
        const {
          verdicts,
          quotas,
          cold,
          isMember,
          nowUs: atUs,
          changes,
        } = decide(state, question, nowUs, runId)
        apply(state, question, changes)
        questions.saw(question, quotas, atUs)
        const expected = verdicts.map((v) => [v.granted, v.waitUs, v.level, v.remaining, v.tight])
        const used = quotas.map(({ level, endsUs, used }) => [level, endsUs, used])
        assert.deepEqual(await ask(question, runId), [cold ? 1 : 0, expected, used, isMember ? 1 : 0, atUs])
        if (question === fresh) {
          const grants = order.flatMap((want, place) => {
            const { endpoint, credential } = action.wants[want]!
            return verdicts[place]!.granted > 0
              ? [{ endpoint, credential, grant: `${fresh.id}/${place}` }]
              : []
          })
          past.push({ question, grants })
        }
      } else {
        const question = action.kind === 'learn' ? questions.learn(action, action) : questions.forgive(action)
        const changes =
          question.op === 'learn'
            ? learn(state, question, nowUs, runId)
            : forgive(state, question, nowUs, runId)
        apply(state, question, changes)
        await ask(question, runId)
      }
      assert.deepEqual(await dumpOf(redis, levelsKey), packed(state))
      assert.deepEqual(await dumpOf(redis, queuesKey), packedQueues(state))
    }
  } finally {
    await redis.del(...keys)
  }
}

type Named = Pick<Want, 'endpoint' | 'credential'> & { grant: string }

async function dumpOf(redis: Redis, key: string): Promise<Record<string, unknown>> {
  const flat = (await redis.eval(DUMP, 1, key)) as unknown[]
  const fields: Record<string, unknown> = {}
  for (let i = 0; i < flat.length; i += 2) fields[String(flat[i])] = flat[i + 1]
  return fields
}

/** The twin's state in the script's layout, numbers as text. */
function packed(state: LimiterState): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  if (state.core !== undefined) {
    const { runId, epochUs, lastUs, offsetUs } = state.core
    fields.core = [runId, text(epochUs), text(lastUs), text(offsetUs)]
  }
  if (state.members !== undefined)
    fields.members = state.members.flatMap((one) => [one.daemon, text(one.seenUs), text(one.outUntilUs)])
  for (const [name, { cursor, served }] of state.turns) fields[`turn:${name}`] = [cursor, text(served)]
  for (const [name, level] of state.levels) {
    fields[name] = [
      level.kind,
      text(level.epochUs),
      text(level.blockedUntilUs),
      text(level.factor),
      text(level.factorAtUs),
      level.recent.flatMap(({ index, units }) => [text(index), text(units)]),
      ...ownFields(level),
    ]
  }
  return fields
}

function ownFields(level: LevelRecord): readonly unknown[] {
  switch (level.kind) {
    case 'bucket':
      return [text(level.tatUs)]
    case 'window':
      return [
        level.log.flatMap(({ timeUs, units }) => [text(timeUs), text(units)]),
        level.pending.flatMap(({ grant, permits, arrived, charge, byUs }) => [
          grant,
          text(permits),
          text(arrived),
          text(charge),
          text(byUs),
        ]),
      ]
    case 'quota':
      return [text(level.endsUs), text(level.used), text(level.next)]
  }
}

function packedQueues(state: LimiterState): Record<string, unknown> {
  const fields = [...state.queues].map(([name, queue]) => [
    name,
    queue.flatMap((one) => [
      one.daemon,
      text(one.sinceUs),
      text(one.untilUs),
      text(one.units),
      text(one.charge),
      text(one.permits),
      text(one.had),
    ]),
  ])
  return Object.fromEntries(fields)
}

function text(value: number): string {
  return value.toFixed(0)
}
