import { MAIN_CREDENTIAL } from '../job/credential.ts'
import type { Advice, Demand, Grant, LevelState, LimitTarget } from '../job/permit.ts'
import { checkName, LevelList, laneOf, refused } from './level-list.ts'
import {
  credentialLevels,
  endpointLevel,
  endpointLimit,
  type LimitPlan,
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
  type MembershipTerms,
  type QuotaReading,
  type Verdict,
  type WantTerms,
} from './question.ts'
import { gatherMs, holdOf, rateOf, statedShare, TermsBook } from './terms.ts'

const WANTS_MAX = 1_024
const COUNT_MAX = 10_000
const ACKS_MAX = 20_000
const ID_LENGTH_MAX = 128
const BLOCK_MS_MAX = 31 * 86_400_000
/** Of endpoints and of credentials of one platform. */
const NAMES_MAX = 1_024

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

/**
 * Puts what is asked of a limiter into a decider's terms, and its answers into the port's words.
 */
export class Questions {
  readonly #plan: LimitPlan
  readonly #coldStart: ColdStart
  readonly #daemon: string
  readonly #book: TermsBook
  /** What was asked for, by platform: endpoints that the plan does not name have levels too. */
  readonly #asked = new Map<string, { endpoints: Set<string>; credentials: Set<string> }>()
  readonly #membership: MembershipOptions | undefined
  /** The daemon has used its share since the store was last asked. */
  returned = false
  /** When the store executed the last call that was answered, by its own clock. */
  #heardUs = 0

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
    this.#book = new TermsBook(plan, options.nowMs ?? Date.now)
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
    const asked = this.#asked.get(platform)
    for (const endpoint of new Set([...Object.keys(named), ...(asked?.endpoints ?? [])])) {
      const limit = endpointLimit(this.#plan, platform, endpoint)
      list.add({ name: endpointLevel(platform, endpoint), kind: 'window', limit })
    }
    for (const credential of asked?.credentials ?? [MAIN_CREDENTIAL]) {
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
        gatherMs: Math.min(
          gatherMs(compiled.question.levels[verdict.level - 1]),
          gatherMs(compiled.question.levels[verdict.tight - 1]),
        ),
      }
    }
    return grants
  }

  /** What an answer said about quotas, and when it was given: told again with the next questions. */
  saw(question: DecideQuestion, quotas: readonly QuotaReading[], nowUs: number): void {
    this.#heardUs = nowUs
    this.#book.saw(question, quotas)
  }

  /** Units of a quota that the daemon has used without the store. */
  owe(level: string, units: number): void {
    this.#book.owe(level, units)
  }

  /** What the daemon last knew to be used of a quota. */
  usedOf(level: string): number {
    return this.#book.usedOf(level)
  }

  /** Readings in the port's words, in the question's order. */
  levelsOf(question: LevelsQuestion, readings: readonly LevelReading[]): readonly LevelState[] {
    return readings.map((reading, index): LevelState => {
      const terms = question.levels[index]!
      return {
        level: terms.name,
        kind: terms.kind,
        remaining: reading.remaining,
        capacity: holdOf(terms),
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
      heardUs: this.#heardUs,
      returned: this.returned,
      leaves,
    }
  }

  #list(platform: string): LevelList {
    if (!NAME.test(platform))
      throw refused(`the platform name "${platform}"; expected printable ASCII without / { } @`)
    return new LevelList(this.#plan, this.#book, this.#note)
  }

  #note = (platform: string, endpoint: string, credential: string): void => {
    let asked = this.#asked.get(platform)
    if (asked === undefined) {
      asked = { endpoints: new Set(), credentials: new Set() }
      this.#asked.set(platform, asked)
    }
    if (asked.endpoints.size < NAMES_MAX) asked.endpoints.add(endpoint)
    if (asked.credentials.size < NAMES_MAX) asked.credentials.add(credential)
  }

  /** A credential's own limit, or its quota; one that has neither is told of as the platform. */
  #targetOf({ platform, endpoint, credential }: LimitTarget): PlannedLevel {
    if (credential !== undefined) {
      checkName(credential)
      const [own] = credentialLevels(this.#plan, platform, credential)
      if (own !== undefined) return own
    }
    if (endpoint === undefined) return platformLevels(this.#plan, platform)[1]!
    checkName(endpoint)
    return {
      name: endpointLevel(platform, endpoint),
      kind: 'window',
      limit: endpointLimit(this.#plan, platform, endpoint),
    }
  }
}
