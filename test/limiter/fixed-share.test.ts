import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServiceAwayError } from '../../src/job/errors.ts'
import type { Advice, Demand, LimitTarget } from '../../src/job/permit.ts'
import { decide, learn, levels } from '../../src/limiter/decide.ts'
import { FixedShare, type SharedLimiter, silenceMs } from '../../src/limiter/fixed-share.ts'
import { type LimitPlan, settlingMs } from '../../src/limiter/plan.ts'
import type { ColdStart } from '../../src/limiter/question.ts'
import { type MembershipOptions, Questions } from '../../src/limiter/questions.ts'
import { apply, emptyState, type LimiterState } from '../../src/limiter/state.ts'
import { generator } from '../generator.ts'
import { type Arrival, utilisation, violations } from './oracle.ts'
import { demand, metrics, SILENT, want } from './sample.ts'

const EPOCH_MS = 1_760_000_000_000
const DAEMONS = 4
const PLAN: LimitPlan = {
  global: { rate: 40, burst: 200 },
  platforms: { p: { rate: 12, burst: 60 } },
  endpoints: { p: { a: { limit: 40, windowMs: 10_000 }, b: { limit: 200, windowMs: 10_000 } } },
  defaultEndpoint: { limit: 60, windowMs: 10_000 },
  arrivalJitterMs: 500,
  grantTimeoutMs: 4_000,
}
const MEMBERSHIP: MembershipOptions = { daemonsMax: DAEMONS, graceMs: 2_000, leaseMs: 120_000 }

/** The store of a fleet in virtual time, and who reaches it. */
class World {
  nowMs = EPOCH_MS
  state: LimiterState = emptyState()
  readonly cutOff = new Set<number>()
  /** Calls of who is cut off that have reached the store all the same: it executes them at any time, and nobody hears the answer. */
  readonly unheard: (() => void)[] = []

  shared(
    id: number,
    options: { coldStart?: ColdStart; plan?: LimitPlan; membership?: MembershipOptions } = {},
  ) {
    return new VirtualLimiter(this, id, options)
  }
}

/** The limits in the store as one daemon sees them: the port that StackedLimiter fills, over the pure decision. */
class VirtualLimiter implements SharedLimiter {
  isMember = false
  readonly #world: World
  readonly #id: number
  readonly #questions: Questions

  constructor(
    world: World,
    id: number,
    options: { coldStart?: ColdStart; plan?: LimitPlan; membership?: MembershipOptions },
  ) {
    const { coldStart = 'empty', plan = PLAN, membership = MEMBERSHIP } = options
    this.#world = world
    this.#id = id
    this.#questions = new Questions(plan, {
      coldStart,
      daemon: `d${id}`,
      membership,
      nowMs: () => world.nowMs,
    })
  }

  get healthy(): boolean {
    return !this.#world.cutOff.has(this.#id)
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async decide(wanted: Demand, options: { leaves?: boolean } = {}) {
    const compiled = this.#questions.decide(wanted, options)
    const execute = () => {
      const decision = decide(this.#world.state, compiled.question, this.#nowUs)
      apply(this.#world.state, compiled.question, decision.changes)
      return decision
    }
    if (!this.healthy) this.#world.unheard.push(execute)
    this.#reach()
    const decision = execute()
    this.#questions.saw(compiled.question, decision.quotas, decision.nowUs)
    this.isMember = decision.isMember
    return this.#questions.grantsOf(wanted, compiled, decision.verdicts)
  }

  async learn(target: LimitTarget, advice: Advice): Promise<void> {
    this.#reach()
    const question = this.#questions.learn(target, advice)
    apply(this.#world.state, question, learn(this.#world.state, question, this.#nowUs))
  }

  async levels(platform: string) {
    this.#reach()
    const question = this.#questions.levels(platform)
    return this.#questions.levelsOf(question, levels(this.#world.state, question, this.#nowUs))
  }

  tellReturned(returned: boolean, owed: ReadonlyMap<string, number> = new Map()): void {
    this.#questions.returned = returned
    for (const [level, units] of owed) this.#questions.owe(level, units)
  }

  usedOf(level: string): number {
    return this.#questions.usedOf(level)
  }

  get #nowUs(): number {
    return Math.floor(this.#world.nowMs * 1000)
  }

  #reach(): void {
    if (!this.healthy) throw new ServiceAwayError('redis', 'cut off')
  }
}

function fixedShare(
  world: World,
  id: number,
  options: Parameters<World['shared']>[1] & { shared?: SharedLimiter } = {},
): FixedShare {
  return new FixedShare({
    plan: options.plan ?? PLAN,
    shared: options.shared ?? world.shared(id, options),
    membership: options.membership ?? MEMBERSHIP,
    metrics: metrics(),
    log: SILENT,
    nowMs: () => world.nowMs,
  })
}

interface Ran {
  readonly arrivals: readonly Arrival[]
  /** Permits that daemons had while they were cut off. */
  readonly alone: number
}

/** A fleet that wants more than there is, with a step every 100 ms; `happen` says who is cut off, and what is lost. */
async function run(
  limiters: (world: World) => readonly Pick<FixedShare, 'decide'>[],
  seed: number,
  untilMs: number,
  happen: (world: World, atMs: number, random: () => number) => void,
): Promise<Ran> {
  const world = new World()
  const random = generator(seed)
  const fleet = limiters(world)
  const arrivals: Arrival[] = []
  let alone = 0
  let due: { atMs: number; daemon: number; endpoint: string; grant: string }[] = []
  const arrived = fleet.map(() => new Map<string, { endpoint: string; arrived: number }>())
  for (let atMs = 0; atMs < untilMs; atMs += 100) {
    world.nowMs = EPOCH_MS + atMs
    happen(world, atMs, random)
    for (const { atMs: cameMs, daemon, endpoint, grant } of due.filter((one) => one.atMs <= atMs)) {
      arrivals.push({ atMs: cameMs, platform: 'p', endpoint, cost: 1 })
      const known = arrived[daemon]!.get(grant) ?? { endpoint, arrived: 0 }
      arrived[daemon]!.set(grant, { endpoint, arrived: known.arrived + 1 })
    }
    due = due.filter((one) => one.atMs > atMs)
    for (const [id, limiter] of fleet.entries()) {
      const acks = [...arrived[id]!].slice(-50).map(([grant, one]) => ({ grant, ...one }))
      const grants = await limiter
        .decide(demand('p', [want('a', 20), want('b', 20)], acks))
        .catch((error) => {
          assert.ok(error instanceof ServiceAwayError)
          return []
        })
      for (const { endpoint, grant, granted, waitMs } of grants) {
        assert.ok(waitMs < 3_600_000, `told to wait ${waitMs} ms`)
        if (world.cutOff.has(id)) alone += granted
        for (let i = 0; i < granted; i++)
          due.push({ atMs: atMs + random() * 400, daemon: id, endpoint, grant })
      }
    }
  }
  return { arrivals: arrivals.toSorted((a, b) => a.atMs - b.atMs), alone }
}

/** So many calls that nobody waits for any more are on their way. */
const UNHEARD_MAX = 50

/** The same, and the store executes calls whose answers nobody hears: one at a time, or all at once when it has stood still. */
function troubleUnheard(world: World, atMs: number, random: () => number): void {
  trouble(world, atMs, random)
  world.unheard.splice(0, world.unheard.length - UNHEARD_MAX)
  const chance = random()
  if (chance < 0.05) world.unheard.splice(Math.floor(random() * world.unheard.length), 1)[0]?.()
  else if (chance < 0.06) for (const execute of world.unheard.splice(0)) execute()
}

/** Daemons are cut off one by one, together, shortly and for long; now and then the store loses what it knows. */
function trouble(world: World, _atMs: number, random: () => number): void {
  const chance = random()
  if (chance < 0.004) world.cutOff.add(Math.floor(random() * DAEMONS))
  else if (chance < 0.005) for (let id = 0; id < DAEMONS; id++) world.cutOff.add(id)
  else if (chance < 0.009) world.cutOff.delete(Math.floor(random() * DAEMONS))
  else if (chance < 0.0105) world.cutOff.clear()
  else if (chance < 0.0108) world.state = emptyState()
}

const ids = Array.from({ length: DAEMONS }, (_, id) => id)

test('keeps every limit with a fixed share, whoever is cut off and whenever the store loses its data', async (t) => {
  let alone = 0
  let all = 0
  for (const seed of [1, 2]) {
    const ran = await run((world) => ids.map((id) => fixedShare(world, id)), seed, 600_000, trouble)
    assert.deepEqual(violations(PLAN, ran.arrivals), [], `seed ${seed}`)
    alone += ran.alone
    all += ran.arrivals.length
  }
  t.diagnostic(`${all} arrivals, ${alone} of them without the store`)
  assert.ok(alone > 1_000, `${alone} without the store`)
})

test('keeps every limit when the store executes calls whose answers nobody heard, soon or late', async (t) => {
  let alone = 0
  for (const seed of [2, 4]) {
    const ran = await run((world) => ids.map((id) => fixedShare(world, id)), seed, 600_000, troubleUnheard)
    assert.deepEqual(violations(PLAN, ran.arrivals), [], `seed ${seed}`)
    alone += ran.alone
  }
  t.diagnostic(`${alone} arrivals without the store`)
  assert.ok(alone > 1_000, `${alone} without the store`)
})

test('the oracle finds fault with shares that are used while the others have all', async () => {
  const careless = (world: World) =>
    ids.map((id) => {
      // The store waits so long before it takes anybody for away that nobody keeps anything back.
      const shared = world.shared(id, { membership: { ...MEMBERSHIP, graceMs: 1e9 } })
      return fixedShare(world, id, { shared })
    })
  const { arrivals } = await run(careless, 1, 600_000, trouble)
  assert.notEqual(violations(PLAN, arrivals).length, 0)
})

test('all of a fleet goes on with all of the limits while the store is away, and shares them again afterwards', async (t) => {
  const settledMs = silenceMs(PLAN, MEMBERSHIP)
  const away = { fromMs: 40_000, toMs: 120_000 }
  const { arrivals } = await run(
    (world) => ids.map((id) => fixedShare(world, id)),
    9,
    240_000,
    (world, atMs) => {
      if (atMs === away.fromMs) for (const id of ids) world.cutOff.add(id)
      if (atMs === away.toMs) world.cutOff.clear()
    },
  )
  assert.deepEqual(violations(PLAN, arrivals), [])
  const silent = arrivals.filter(
    ({ atMs }) => atMs > away.fromMs + 1_000 && atMs < away.fromMs + settledMs - 200,
  )
  assert.equal(silent.length, 0)
  const used = (fromMs: number, toMs: number) =>
    utilisation(PLAN, arrivals, { fromMs, toMs }).get('platform:p') ?? 0
  const alone = used(away.fromMs + settledMs + 10_000, away.toMs)
  const after = used(away.toMs + 2 * settlingMs(PLAN), 240_000)
  t.diagnostic(`of the platform's bucket: ${alone.toFixed(3)} alone, ${after.toFixed(3)} afterwards`)
  // 12 a second divided by four, each rounded by nothing.
  assert.ok(alone > 0.95, String(alone))
  assert.ok(after > 0.97, String(after))
})

test('a daemon beyond the number that was said has no share, and waits', async () => {
  const world = new World()
  const fleet = [...ids, DAEMONS].map((id) => fixedShare(world, id, { coldStart: 'full' }))
  for (const limiter of fleet) await limiter.decide(demand('p', [want('a')]))
  for (let id = 0; id <= DAEMONS; id++) world.cutOff.add(id)
  world.nowMs += silenceMs(PLAN, MEMBERSHIP) + 1
  assert.deepEqual(
    fleet.map(({ healthy }) => healthy),
    [true, true, true, true, false],
  )
  await assert.rejects(fleet[DAEMONS]!.decide(demand('p', [want('a')])), ServiceAwayError)
})

test('a share ends before it may be given to others', async () => {
  const world = new World()
  const limiter = fixedShare(world, 0, { coldStart: 'full' })
  await limiter.decide(demand('p', [want('a')]))
  world.cutOff.add(0)
  world.nowMs += MEMBERSHIP.leaseMs - settlingMs(PLAN)
  assert.equal(limiter.healthy, true)
  world.nowMs += 1
  assert.equal(limiter.healthy, false)
})

test('what was used of a quota without the store is told to it', async () => {
  const quotas = { p: { limit: 100, period: 'day', timeZone: 'UTC' } } as const
  const plan = { ...PLAN, quotas }
  const world = new World()
  const limiter = fixedShare(world, 0, { coldStart: 'full', plan })
  await limiter.decide(demand('p', [want('a', 20)]))
  world.cutOff.add(0)
  world.nowMs += silenceMs(PLAN, MEMBERSHIP) + 1
  // A quarter of the eighty that are left, and a quarter of the window.
  const [alone] = await limiter.decide(demand('p', [want('b', 60)]))
  assert.equal(alone!.granted, 13)
  world.cutOff.clear()
  await limiter.decide(demand('p', [want('a', 0)]))
  await limiter.decide(demand('p', [want('a', 0)]))
  const quota = (await limiter.levels('p')).find(({ kind }) => kind === 'quota')
  assert.equal(quota?.remaining, 100 - 20 - 13)
})

test('a plan that has nothing left when it is divided is refused', () => {
  const membership = { ...MEMBERSHIP, daemonsMax: 50 }
  assert.throws(() => fixedShare(new World(), 0, { membership }), { code: 'LIMIT_PLAN', kind: 'usage' })
})
