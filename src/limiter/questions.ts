import { MillraceError } from '../job/errors.ts'
import type { Advice, Demand, Grant, LevelState, LimitTarget } from '../job/permit.ts'
import { periodStarts } from './calendar.ts'
import {
  chargeOf,
  credentialLevels,
  endpointLevel,
  endpointLimit,
  type LimitPlan,
  levelsOf,
  MAIN_CREDENTIAL,
  ownBurst,
  type PlannedLevel,
  platformLevels,
  settlingMs,
} from './plan.ts'
import { NAME } from './plan-check.ts'
import {
  type ChargeQuestion,
  type ColdStart,
  compare,
  type DecideQuestion,
  type ForgiveQuestion,
  grantName,
  type LearnQuestion,
  type LevelReading,
  type LevelsQuestion,
  type LevelTerms,
  type MembershipTerms,
  type QuotaReading,
  type QuotaTerms,
  type Verdict,
  type WantTerms,
} from './question.ts'

const WANTS_MAX = 1_024
const COUNT_MAX = 10_000
const ACKS_MAX = 20_000
const ID_LENGTH_MAX = 128
/** Entries of a window's log, about. */
const GRAINS = 1024
/** Between the clock of the store and the one by which a platform begins its day. */
const CALENDAR_SLACK_MS = 2_000
const BLOCK_MS_MAX = 31 * 86_400_000
/** A lowered limit rises by one step in a window, and of a bucket in this time. */
const STEP_MS = 10_000
const CREDENTIALS_MAX = 1_000

/** A demand in a decider's terms, and for each want of the question which want of the demand it is. */
export interface Compiled {
  readonly question: DecideQuestion
  readonly order: readonly number[]
}

/** Daemons that go on with a share each while the store is away; see fixed-share. */
export interface MembershipOptions {
  readonly daemonsMax: number
  readonly graceMs: number
  readonly leaseMs: number
}

type Seen = QuotaTerms['seen']

/**
 * Puts what is asked of a limiter into a decider's terms, and its answers into the port's words. Remembers what was seen of
 * quotas, so that a store that lost its data hears of it again.
 */
export class Questions {
  readonly #plan: LimitPlan
  readonly #coldStart: ColdStart
  readonly #daemon: string
  readonly #nowMs: () => number
  /** Terms that do not change, by level name. Bounded by the plan and the platforms' own endpoints. */
  readonly #terms = new Map<string, LevelTerms>()
  readonly #calendars = new Map<string, readonly number[]>()
  readonly #seen = new Map<string, Seen>()
  readonly #credentials = new Map<string, Set<string>>()
  readonly #membership: MembershipOptions | undefined
  /** The daemon has used its share since the store was last asked. */
  returned = false

  /** `daemon` names this one among those that share the limits; empty when it is alone. `nowMs`: Unix ms, for calendars. */
  constructor(
    plan: LimitPlan,
    options: {
      coldStart: ColdStart
      daemon?: string
      membership?: MembershipOptions | undefined
      nowMs?: () => number
    },
  ) {
    this.#plan = plan
    this.#coldStart = options.coldStart
    this.#daemon = options.daemon ?? ''
    this.#membership = options.membership
    this.#nowMs = options.nowMs ?? Date.now
  }

  /**
   * Throws MillraceError `LIMIT_DEMAND`, kind `usage`, for a demand that can never be granted or is out of bounds. `everywhere`: costs
   * are taken from every level, also from those that count requests. `leaves`: it is the daemon's last.
   */
  decide(demand: Demand, { everywhere = false, leaves = false } = {}): Compiled {
    const { requestId, platform, wants, acks, permitsMax = COUNT_MAX * WANTS_MAX } = demand
    if (requestId.length < 1 || requestId.length > ID_LENGTH_MAX)
      throw refused(`requestId has ${requestId.length} characters; expected 1 to ${ID_LENGTH_MAX}`)
    if (wants.length > WANTS_MAX) throw refused(`${wants.length} wants; expected at most ${WANTS_MAX}`)
    if (acks.length > ACKS_MAX) throw refused(`${acks.length} acknowledgements; expected at most ${ACKS_MAX}`)
    if (!(permitsMax >= 0)) throw refused(`permitsMax ${permitsMax}; expected 0 or more`)

    const list = this.#list(platform)
    const lanes = wants.map(({ endpoint, credential }) => laneOf(endpoint, credential))
    const order = wants.map((_, index) => index)
    order.sort((a, b) => compare(lanes[a]!, lanes[b]!) || a - b)
    const asked = order.map((index): WantTerms => {
      const { endpoint, credential, count, cost, waiting = count } = wants[index]!
      const name = endpointLevel(platform, endpoint)
      if (!Number.isInteger(count) || count < 0 || count > COUNT_MAX)
        throw refused(`${name}: count ${count}; expected a whole number, 0 to ${COUNT_MAX}`)
      const { levels, charges } = list.charged({ platform, endpoint, credential }, cost, everywhere)
      return { lane: lanes[index]!, levels, charges, count, waiting: Math.max(count, Math.floor(waiting)) }
    })
    const told = acks.map(({ endpoint, credential, grant, arrived }) => {
      if (!Number.isInteger(arrived) || arrived < 1 || arrived > COUNT_MAX)
        throw refused(
          `${endpointLevel(platform, endpoint)}: ${arrived} permits acknowledged; expected 1 or more`,
        )
      return { levels: list.causal({ platform, endpoint, credential }), grant, arrived }
    })
    return {
      order,
      question: {
        op: 'decide',
        ...(this.#membership === undefined
          ? {}
          : { membership: this.#membershipTerms(this.#membership, leaves) }),
        coldStart: this.#coldStart,
        platform,
        levels: list.terms,
        id: requestId,
        daemon: this.#daemon === '' ? '' : `${this.#daemon}/${platform}`,
        replayUs: Math.floor(this.#plan.arrivalJitterMs * 1000),
        permitsMax: Math.floor(permitsMax),
        wants: asked,
        acks: told.filter(({ levels }) => levels.length > 0),
      },
    }
  }

  /** All the levels of one call, to be charged `points` each, whatever they have. */
  charge(call: { platform: string; endpoint: string }, points: number): ChargeQuestion {
    const list = this.#list(call.platform)
    const { levels } = list.charged(call, 1)
    return {
      op: 'charge',
      coldStart: this.#coldStart,
      platform: call.platform,
      levels: list.terms,
      charges: levels.map(() => points),
    }
  }

  learn(target: LimitTarget, advice: Advice): LearnQuestion {
    const { platform } = target
    const { blockMs = 0, spentMs = 0, rejected = false, share = 1, policy } = advice
    if (!(blockMs >= 0 && spentMs >= 0)) throw refused(`a block of ${blockMs} ms; expected 0 or more`)
    const level = this.#targetOf(target)
    const list = this.#list(platform)
    list.add(level)
    const stated = policy === undefined ? 1 : statedShare(level, policy)
    return {
      op: 'learn',
      coldStart: this.#coldStart,
      platform,
      levels: list.terms,
      // A header may say anything; longer than a month is taken for a month.
      blockUs: Math.ceil(Math.min(blockMs, BLOCK_MS_MAX) * 1000),
      spentUs: Math.ceil(Math.min(spentMs, BLOCK_MS_MAX) * 1000),
      rejected,
      cap: Math.max(1, Math.min(1000, Math.floor(1000 * Math.min(share, stated)))),
    }
  }

  forgive(target: LimitTarget): ForgiveQuestion {
    const list = this.#list(target.platform)
    list.add(this.#targetOf(target))
    return { op: 'forgive', coldStart: this.#coldStart, platform: target.platform, levels: list.terms }
  }

  /** Every level of a platform that is named in the plan or was asked for: global, platform, endpoints, credentials. */
  levels(platform: string): LevelsQuestion {
    const list = this.#list(platform)
    for (const level of platformLevels(this.#plan, platform)) list.add(level)
    const named = Object.hasOwn(this.#plan.endpoints, platform) ? this.#plan.endpoints[platform]! : {}
    for (const endpoint of Object.keys(named)) {
      const limit = endpointLimit(this.#plan, platform, endpoint)
      list.add({ name: endpointLevel(platform, endpoint), kind: 'window', limit })
    }
    for (const credential of this.#credentials.get(platform) ?? [MAIN_CREDENTIAL]) {
      for (const level of credentialLevels(this.#plan, platform, credential)) list.add(level)
    }
    return { op: 'levels', coldStart: this.#coldStart, platform, levels: list.terms }
  }

  /** The verdicts in the demand's words and order. */
  grantsOf(demand: Demand, compiled: Compiled, verdicts: readonly Verdict[]): readonly Grant[] {
    const grants: Grant[] = []
    for (const [index, verdict] of verdicts.entries()) {
      const place = compiled.order[index]!
      grants[place] = {
        endpoint: demand.wants[place]!.endpoint,
        granted: verdict.granted,
        grant: verdict.granted > 0 ? grantName(demand.requestId, index) : '',
        // Rounded up: a timer that fires after this many ms is not early.
        waitMs: Math.ceil(verdict.waitUs / 1000),
        level: compiled.question.levels[verdict.level - 1]?.name ?? null,
        gatherMs: gatherMs(compiled.question.levels[verdict.level - 1]),
      }
    }
    return grants
  }

  /** What an answer said about quotas: told again with the next questions. */
  saw(question: DecideQuestion, quotas: readonly QuotaReading[]): void {
    for (const { level, endsUs, used } of quotas) {
      const terms = question.levels[level]!
      const told = terms.kind === 'quota' ? terms.seen.owed : 0
      const owed = Math.max(0, (this.#seen.get(terms.name)?.owed ?? 0) - told)
      this.#seen.set(terms.name, { endsUs, used, owed })
    }
  }

  /** Units of a quota that the daemon has used without the store. */
  owe(level: string, units: number): void {
    const seen = this.#seen.get(level)
    if (seen !== undefined) this.#seen.set(level, { ...seen, owed: seen.owed + units })
  }

  /** What the daemon last knew to be used of a quota. */
  usedOf(level: string): number {
    return this.#seen.get(level)?.used ?? 0
  }

  /** Readings in the port's words, in the question's order. */
  levelsOf(question: LevelsQuestion, readings: readonly LevelReading[]): readonly LevelState[] {
    return readings.map((reading, index): LevelState => {
      const terms = question.levels[index]!
      return {
        level: terms.name,
        kind: terms.kind,
        remaining: reading.remaining,
        capacity: terms.kind === 'bucket' ? Math.floor(terms.toleranceUs / terms.intervalUs) : terms.limit,
        rate: rateOf(terms),
        factor: reading.factor / 1000,
        blockedUntilMs: Math.ceil(reading.blockedUntilUs / 1000),
        resetsAtMs: Math.ceil(reading.endsUs / 1000),
        // Measured over 60 to 70 s, and scaled.
        grantedLastMinute: Math.round((reading.granted * 60e6 * 100) / reading.spanUs) / 100,
        waiting: reading.waiting,
      }
    })
  }

  #membershipTerms({ daemonsMax, graceMs, leaseMs }: MembershipOptions, leaves: boolean): MembershipTerms {
    return {
      daemon: this.#daemon,
      daemonsMax,
      graceUs: graceMs * 1000,
      leaseUs: leaseMs * 1000,
      settleUs: Math.ceil(settlingMs(this.#plan) * 1000),
      returned: this.returned,
      leaves,
    }
  }

  #list(platform: string): LevelList {
    if (!NAME.test(platform))
      throw refused(`the platform name "${platform}"; expected printable ASCII without / { } @`)
    return new LevelList(this.#plan, (level) => this.#termsOf(level), this.#noteCredential)
  }

  #noteCredential = (platform: string, credential: string): void => {
    let known = this.#credentials.get(platform)
    if (known === undefined) {
      known = new Set()
      this.#credentials.set(platform, known)
    }
    if (known.size < CREDENTIALS_MAX) known.add(credential)
  }

  #targetOf({ platform, endpoint }: LimitTarget): PlannedLevel {
    if (endpoint === undefined) return platformLevels(this.#plan, platform)[1]!
    checkName(endpoint)
    return {
      name: endpointLevel(platform, endpoint),
      kind: 'window',
      limit: endpointLimit(this.#plan, platform, endpoint),
    }
  }

  #termsOf(level: PlannedLevel): LevelTerms {
    if (level.kind === 'quota') return this.#quotaTerms(level)
    let terms = this.#terms.get(level.name)
    if (terms === undefined) {
      terms = fixedTerms(level, this.#plan)
      this.#terms.set(level.name, terms)
    }
    return terms
  }

  /** Rounding up to the limiter's clock: a period begins when it has begun by any clock, see CALENDAR_SLACK_MS. */
  #quotaTerms({ name, limit }: Extract<PlannedLevel, { kind: 'quota' }>): QuotaTerms {
    const { period, timeZone } = limit
    const key = `${period} ${timeZone}`
    const nowMs = this.#nowMs()
    let starts = this.#calendars.get(key)
    // The middle one is the end of the period of now.
    if (starts === undefined || nowMs >= starts[2]! || nowMs < starts[1]!) {
      starts = periodStarts(period, timeZone, nowMs)
      this.#calendars.set(key, starts)
    }
    return {
      name,
      kind: 'quota',
      limit: limit.limit,
      startsUs: starts.map((startMs) => (startMs + CALENDAR_SLACK_MS) * 1000),
      overlapUs: Math.ceil((this.#plan.grantTimeoutMs + 2 * CALENDAR_SLACK_MS) * 1000),
      seen: this.#seen.get(name) ?? UNSEEN,
      stepUs: STEP_MS * 1000,
    }
  }
}

const UNSEEN: Seen = { endsUs: 0, used: 0, owed: 0 }

/** The levels of one question, each once. */
class LevelList {
  readonly terms: LevelTerms[] = []
  readonly #indices = new Map<string, number>()
  readonly #chains = new Map<string, { levels: number[]; planned: readonly PlannedLevel[] }>()
  readonly #plan: LimitPlan
  readonly #termsOf: (level: PlannedLevel) => LevelTerms
  readonly #noteCredential: (platform: string, credential: string) => void

  constructor(
    plan: LimitPlan,
    termsOf: (level: PlannedLevel) => LevelTerms,
    noteCredential: (platform: string, credential: string) => void,
  ) {
    this.#plan = plan
    this.#termsOf = termsOf
    this.#noteCredential = noteCredential
  }

  add(level: PlannedLevel): number {
    let index = this.#indices.get(level.name)
    if (index === undefined) {
      index = this.terms.length
      this.#indices.set(level.name, index)
      this.terms.push(this.#termsOf(level))
    }
    return index
  }

  /** What a call passes, and takes. */
  charged(
    call: { platform: string; endpoint: string; credential?: string | undefined },
    cost: number,
    everywhere = false,
  ): { levels: number[]; charges: number[] } {
    const { levels, planned } = this.#chain(call)
    const charges = planned.map((level) => (everywhere ? cost : chargeOf(level, cost)))
    for (const [place, charge] of charges.entries()) {
      const most = capacityOf(this.terms[levels[place]!]!)
      if (!Number.isInteger(charge) || charge < 1 || charge > most)
        throw refused(
          `${planned[place]!.name}: cost ${charge}; expected a whole number, 1 to ${most}, which it holds`,
        )
    }
    return { levels, charges }
  }

  /** The windows that wait for acknowledgements of a call. */
  causal(call: { platform: string; endpoint: string; credential?: string | undefined }): number[] {
    return this.#chain(call).levels.filter((index) => {
      const terms = this.terms[index]!
      return terms.kind === 'window' && terms.causal
    })
  }

  #chain(call: { platform: string; endpoint: string; credential?: string | undefined }) {
    const { platform, endpoint, credential } = call
    const lane = laneOf(endpoint, credential)
    let chain = this.#chains.get(lane)
    if (chain === undefined) {
      checkName(endpoint)
      if (credential !== undefined) checkName(credential)
      const planned = levelsOf(this.#plan, { platform, endpoint, credential })
      this.#noteCredential(platform, credential ?? MAIN_CREDENTIAL)
      chain = { planned, levels: planned.map((level) => this.add(level)) }
      this.#chains.set(lane, chain)
    }
    return chain
  }
}

function fixedTerms(level: Exclude<PlannedLevel, { kind: 'quota' }>, plan: LimitPlan): LevelTerms {
  const { name } = level
  if (level.kind === 'bucket') {
    // Rounded to the safe side: the interval up (at 1,000 a second 0.1% at most), the tolerance down.
    const intervalUs = Math.ceil(1e6 / level.limit.rate)
    const toleranceUs = Math.floor(ownBurst(level.limit, plan.arrivalJitterMs) * intervalUs)
    return { name, kind: 'bucket', intervalUs, toleranceUs, stepUs: STEP_MS * 1000 }
  }
  const { limit, windowMs, mode } = level.limit
  const causal = mode !== 'bounded'
  const windowUs = Math.ceil(windowMs * 1000)
  return {
    name,
    kind: 'window',
    limit,
    windowUs,
    grainUs: Math.max(1, Math.floor(windowUs / GRAINS)),
    arriveUs: Math.ceil((causal ? plan.grantTimeoutMs : plan.arrivalJitterMs) * 1000),
    causal,
    stepUs: Math.max(STEP_MS * 1000, windowUs),
  }
}

function capacityOf(terms: LevelTerms): number {
  return terms.kind === 'bucket' ? Math.floor(terms.toleranceUs / terms.intervalUs) : terms.limit
}

const GATHER_MS_MAX = 5_000

/** A window loses what is not taken at once; a bucket does when it is full. */
function gatherMs(terms: LevelTerms | undefined): number {
  if (terms === undefined || terms.kind === 'quota') return GATHER_MS_MAX
  const harmlessUs = terms.kind === 'window' ? terms.windowUs / 100 : terms.toleranceUs / 4
  return Math.min(GATHER_MS_MAX, Math.floor(harmlessUs / 1000))
}

function rateOf(terms: LevelTerms): number {
  if (terms.kind === 'bucket') return 1e6 / terms.intervalUs
  if (terms.kind === 'window') return (terms.limit * 1e6) / terms.windowUs
  return (terms.limit * 1e6) / (terms.startsUs[2]! - terms.startsUs[1]!)
}

/** A policy over much more time than ours is a quota: it says how many, not how fast. */
const PACE_WINDOWS_MAX = 10

/**
 * The share of our limit that a stated one sustains. A policy over less time than ours says nothing about ours: 10 in any second do
 * not forbid 60 a minute.
 */
function statedShare(level: PlannedLevel, policy: { limit: number; windowMs: number }): number {
  const stated = policy.limit / policy.windowMs
  if (!(stated > 0) || level.kind === 'quota') return 1
  const ours = level.kind === 'window' ? level.limit.limit / level.limit.windowMs : level.limit.rate / 1000
  const windowMs = level.kind === 'window' ? level.limit.windowMs : STEP_MS
  return policy.windowMs < windowMs * 0.99 || policy.windowMs > windowMs * PACE_WINDOWS_MAX
    ? 1
    : stated / ours
}

function laneOf(endpoint: string, credential: string | undefined): string {
  return credential === undefined || credential === MAIN_CREDENTIAL ? endpoint : `${endpoint}@${credential}`
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw refused(`the name "${name}"; expected 1–64 printable ASCII characters without / { } @`)
}

function refused(what: string): MillraceError {
  return new MillraceError('LIMIT_DEMAND', `The limiter was asked for what it cannot decide: ${what}.`, {
    kind: 'usage',
  })
}
