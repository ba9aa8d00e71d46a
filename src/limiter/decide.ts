import { factorOf, learnt } from './adapt.ts'
import { Level } from './level.ts'
import { left, type Presence, presence } from './membership.ts'
import {
  type ChargeQuestion,
  type DecideQuestion,
  type ForgiveQuestion,
  grantName,
  type LearnQuestion,
  type LevelReading,
  type LevelsQuestion,
  type QuotaReading,
  type Verdict,
} from './question.ts'
import { heldUntil, type Others, others, placesKept, requeued, reserved } from './queue.ts'
import {
  answerKey,
  type Changes,
  type LevelRecord,
  type LimiterState,
  type Opened,
  openCore,
  REMEMBER_US,
  recentUnits,
  type Waiting,
} from './state.ts'
import { again, FIRST_TURN, handOut, type Turns } from './turns.ts'

export interface Decision {
  /** One for each want of the question, in its order. */
  readonly verdicts: readonly Verdict[]
  readonly quotas: readonly QuotaReading[]
  /** True when this call found nothing to rely on, and began with empty buckets and full windows. */
  readonly cold: boolean
  /** Whether the daemon has a share to go on with while the store is away. */
  readonly isMember: boolean
  /** When it was decided, by the store's clock. */
  readonly nowUs: number
  /** What `apply` has to put into the state. A denial changes nothing but the queues. */
  readonly changes: Changes
}

/**
 * Decides one demand of one daemon on all levels at once: pure, the state is not changed. Its twin is decide.lua, and the two
 * agree in every bit; whoever changes one changes the other. `rawUs` is the wall clock in Unix microseconds.
 *
 * Every want gets `min(count, every level)`, what several wants share being handed out in turns (see `handOut`), and what several
 * daemons share with a part kept for the others (see `queue`). Acknowledgements are taken first. What is left over by a want is
 * told when it could be had at the earliest, after those who wait for it already.
 *
 * A request id that was granted something before is told the same again, and charged nothing.
 */
export function decide(state: LimiterState, question: DecideQuestion, rawUs: number, runId = ''): Decision {
  const opened = openCore(state.core, question, rawUs, runId)
  const { core, nowUs, cold } = opened
  const { wants, daemon } = question
  const most = question.levels.map(() => 1)
  for (const { levels, charges } of wants) {
    for (const [place, level] of levels.entries()) most[level] = Math.max(most[level]!, charges[place]!)
  }
  const here = presenceOf(state, question, opened)
  const levels = question.levels.map(
    (terms, index) => new Level(state.levels.get(terms.name), terms, opened, most[index]!, here?.share),
  )
  const acks = new Map<number, { grant: string; arrived: number }[]>()
  for (const ack of question.acks) {
    for (const level of ack.levels) {
      const told = acks.get(level)
      if (told === undefined) acks.set(level, [ack])
      else told.push(ack)
    }
  }
  for (const [level, told] of acks) levels[level]!.acknowledge(told)

  const queues = question.levels.map(({ name }) =>
    daemon === '' ? NOBODY : others(state.queues.get(name) ?? [], daemon, nowUs),
  )
  const unreserved = levels.map((level) => level.free)
  const places = placesKept(question, queues)
  const kept = unreserved.map((free, index) => reserved(free, queues[index]!, places[index]!))
  const free = unreserved.map((units, index) => Math.max(0, units - kept[index]!))

  const before = state.answers.get(answerKey(question.platform, question.id))
  const answered = before !== undefined && nowUs - before.atUs < REMEMBER_US ? before : undefined
  const turn = state.turns.get(question.platform) ?? FIRST_TURN
  const turns =
    answered === undefined
      ? handOut(question, turn, free, (at, units) => levels[at]!.wait(unreserved[at]! - free[at]! + units))
      : again(question, answered, nowUs)
  if (answered === undefined) {
    for (const [index, { levels: chain, charges }] of wants.entries()) {
      const granted = turns.granted[index]!
      if (granted === 0) continue
      const name = grantName(question.id, index)
      for (const [place, level] of chain.entries()) levels[level]!.charge(granted, charges[place]!, name)
    }
  }

  const waits = wants.map(({ levels: chain, charges, count }, index) => {
    let waitUs = 0
    let level = 0
    if (turns.granted[index] === count) return { waitUs, level }
    for (const [place, at] of chain.entries()) {
      const one = levels[at]!
      const charge = charges[place]!
      // Others use so much of it now that it does not hold one permit: that passes, and nobody knows when.
      const wait =
        one.capacity < charge
          ? Math.max(LITTLE_US, one.blockedUs)
          : one.wait(Math.min(one.capacity, kept[at]! + charge))
      // The widest level among equals.
      if (wait > waitUs) {
        waitUs = wait
        level = at + 1
      }
    }
    return { waitUs, level }
  })
  const verdicts = wants.map(({ levels: chain, charges, count }, index): Verdict => {
    const granted = turns.granted[index]!
    let { waitUs, level } = waits[index]!
    if (waitUs === 0 && granted < count && !turns.isFull) {
      // Held back although there was room: one that costs more is first in line there, and has to be served first.
      const at = chain.find((one) => turns.claims[one] !== undefined)
      if (at !== undefined) ({ waitUs, level } = waits[turns.claims[at]!]!)
      // The others have a claim to more than the level holds: come again, and stand in line.
      if (waitUs === 0) {
        waitUs = STAND_US
        level = 1 + (chain.find((one, place) => free[one]! < charges[place]!) ?? chain[0]!)
      }
    }
    const remaining = Math.min(...chain.map((at) => free[at]!))
    const tight = 1 + (chain.find((at) => isTight(levels[at]!, free[at]!)) ?? -1)
    return { granted, waitUs, level, remaining, tight }
  })

  const changed = new Map<string, LevelRecord>()
  const quotas: QuotaReading[] = []
  for (const [index, level] of levels.entries()) {
    if (level.changed !== undefined) changed.set(question.levels[index]!.name, level.changed)
    const { record } = level
    if (record.kind === 'quota') quotas.push({ level: index, endsUs: record.endsUs, used: record.used })
  }
  const stored = changed.size > 0 || opened.changed
  return {
    verdicts,
    quotas,
    cold,
    isMember: here?.isMember ?? false,
    nowUs,
    changes: {
      ...(here === undefined ? {} : { members: here.members }),
      ...(stored ? { core: { ...core, lastUs: nowUs } } : {}),
      levels: changed,
      ...(turns.units > 0 ? { turn: { cursor: turns.cursor, served: turns.served } } : {}),
      ...(turns.units > 0 ? { answered: { atUs: nowUs, granted: turns.granted } } : {}),
      queues: daemon === '' ? new Map() : queuesAfter(state, question, nowUs, { turns, verdicts, queues }),
    },
  }
}

function isTight({ terms, capacity }: Level, free: number): boolean {
  return terms.kind === 'window' && free * 2 < capacity
}

/** The first word of a daemon after a cold start: nobody knows who else is there, unless nobody needs to care. */
function presenceOf(state: LimiterState, question: DecideQuestion, opened: Opened): Presence | undefined {
  const { membership, coldStart } = question
  if (membership === undefined) return undefined
  const known = opened.cold ? undefined : (state.members ?? (coldStart === 'full' ? [] : undefined))
  if (!membership.leaves) return presence(known, membership, opened.nowUs)
  return { members: left(known ?? [], membership.daemon, opened.nowUs), share: 0, isMember: false }
}

/** How long who can be told nothing better waits. */
const STAND_US = 20_000
const LITTLE_US = 1e6
const NOBODY: Others = { waiting: [], before: 0, had: 0 }

/** Where the daemon stands now in the queues of the levels that it asked: in those that hold it back. */
function queuesAfter(
  state: LimiterState,
  question: DecideQuestion,
  nowUs: number,
  { turns, verdicts, queues }: { turns: Turns; verdicts: readonly Verdict[]; queues: readonly Others[] },
): Map<string, readonly Waiting[]> {
  const { daemon } = question
  const after = new Map<string, readonly Waiting[]>()
  for (const [at, terms] of question.levels.entries()) {
    const { name } = terms
    let asked = false
    let got = 0
    let waitUs = 0
    const lacks = { units: 0, charge: 0, permits: 0 }
    for (const [index, { levels, charges, count, waiting }] of question.wants.entries()) {
      const place = levels.indexOf(at)
      if (place < 0) continue
      asked = true
      const granted = turns.granted[index]!
      got += granted * charges[place]!
      if (verdicts[index]!.level !== at + 1) continue
      lacks.units += (count - granted) * charges[place]!
      lacks.charge = Math.max(lacks.charge, charges[place]!)
      lacks.permits += waiting - granted
      waitUs = Math.max(waitUs, verdicts[index]!.waitUs)
    }
    const before = state.queues.get(name)?.find((one) => one.daemon === daemon)
    if (!asked || (lacks.units === 0 && before === undefined)) continue
    const stays = before !== undefined && got === 0
    const sinceUs = stays ? before.sinceUs : nowUs
    const mine = {
      daemon,
      sinceUs,
      untilUs: heldUntil(terms, nowUs, waitUs),
      ...lacks,
      had: queues[at]!.had + got,
    }
    after.set(name, requeued(queues[at]!, lacks.units === 0 ? undefined : mine, stays))
  }
  return after
}

/** Nothing is left, says the upstream; we have more than a twentieth. */
const DISAGREES = 20

/** Takes an upstream's word about one level: a block, a lower limit. */
export function learn(state: LimiterState, question: LearnQuestion, rawUs: number, runId = ''): Changes {
  return change(state, question, rawUs, runId, (level, terms, nowUs) => {
    const { blockUs, spentUs } = question
    const disagrees = level.units * DISAGREES > level.capacity
    const word = { ...question, blockUs: disagrees ? Math.max(blockUs, spentUs) : blockUs }
    return learnt(level.record, terms, word, nowUs)
  })
}

/** Lifts a block and restores the whole limit. */
export function forgive(state: LimiterState, question: ForgiveQuestion, rawUs: number, runId = ''): Changes {
  return change(state, question, rawUs, runId, ({ record }) => ({
    ...record,
    blockedUntilUs: 0,
    factor: 1000,
    factorAtUs: 0,
  }))
}

function change(
  state: LimiterState,
  question: LearnQuestion | ForgiveQuestion,
  rawUs: number,
  runId: string,
  made: (level: Level, terms: LearnQuestion['levels'][number], nowUs: number) => LevelRecord,
): Changes {
  const opened = openCore(state.core, question, rawUs, runId)
  const terms = question.levels[0]!
  const level = new Level(state.levels.get(terms.name), terms, opened)
  return {
    core: { ...opened.core, lastUs: opened.nowUs },
    levels: new Map([[terms.name, made(level, terms, opened.nowUs)]]),
    queues: new Map(),
  }
}

/** Takes units that somebody else has used, whether the levels have them or not. */
export function charge(
  state: LimiterState,
  question: ChargeQuestion,
  rawUs: number,
  runId = '',
): { remaining: number; waitUs: number; changes: Changes } {
  const opened = openCore(state.core, question, rawUs, runId)
  const levels = question.levels.map((terms) => new Level(state.levels.get(terms.name), terms, opened))
  for (const [index, level] of levels.entries()) level.charge(question.charges[index]!, 1, '')
  const changed = question.levels.map(({ name }, index) => [name, levels[index]!.record] as const)
  return {
    remaining: Math.min(...levels.map((level) => level.free)),
    waitUs: Math.max(...levels.map((level) => level.wait(1))),
    changes: {
      core: { ...opened.core, lastUs: opened.nowUs },
      levels: new Map(changed),
      queues: new Map(),
    },
  }
}

/** Reads every level of the question, in its order. Changes nothing. */
export function levels(
  state: LimiterState,
  question: LevelsQuestion,
  rawUs: number,
  runId = '',
): LevelReading[] {
  const opened = openCore(state.core, question, rawUs, runId)
  const { core, nowUs } = opened
  return question.levels.map((terms) => {
    const level = new Level(state.levels.get(terms.name), terms, opened)
    const { record } = level
    let waiting = 0
    for (const one of state.queues.get(terms.name) ?? []) if (one.untilUs > nowUs) waiting += one.permits
    return {
      remaining: level.free,
      // On the wall clock, which may have been set back since.
      blockedUntilUs: level.blockedUs > 0 ? record.blockedUntilUs - core.offsetUs : 0,
      factor: factorOf(record, terms, nowUs),
      endsUs: record.kind === 'quota' ? record.endsUs : 0,
      ...recentUnits(record.recent, nowUs),
      waiting,
    }
  })
}
