import { periodStarts } from './calendar.ts'
import { type LimitPlan, ownBurst, type PlannedLevel } from './plan.ts'
import type { DecideQuestion, LevelTerms, QuotaReading, QuotaTerms } from './question.ts'

/** Entries of a window's log, about. */
const GRAINS = 1024
/** Between the clock of the store and the one by which a platform begins its day. */
const CALENDAR_SLACK_MS = 2_000
/** A lowered limit rises by one step in a window, and of a bucket in this time. */
const STEP_MS = 10_000

type Seen = QuotaTerms['seen']

const UNSEEN: Seen = { endsUs: 0, used: 0, owed: 0 }

/**
 * Levels of a plan in a decider's terms. Remembers what was seen of quotas, so that a store that lost its data hears of it again.
 */
export class TermsBook {
  readonly #plan: LimitPlan
  readonly #nowMs: () => number
  /** Terms that do not change, by level name. Bounded by the plan and the platforms' own endpoints. */
  readonly #fixed = new Map<string, LevelTerms>()
  readonly #calendars = new Map<string, readonly number[]>()
  readonly #seen = new Map<string, Seen>()

  /** `nowMs`: Unix ms, for calendars. */
  constructor(plan: LimitPlan, nowMs: () => number) {
    this.#plan = plan
    this.#nowMs = nowMs
  }

  of(level: PlannedLevel): LevelTerms {
    if (level.kind === 'quota') return this.#quota(level)
    let terms = this.#fixed.get(level.name)
    if (terms === undefined) {
      terms = fixedTerms(level, this.#plan)
      this.#fixed.set(level.name, terms)
    }
    return terms
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

  /** Rounding up to the limiter's clock: a period begins when it has begun by any clock, see CALENDAR_SLACK_MS. */
  #quota({ name, limit }: Extract<PlannedLevel, { kind: 'quota' }>): QuotaTerms {
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

/** What a level holds when it is full, as configured. */
export function holdOf(terms: LevelTerms): number {
  return terms.kind === 'bucket' ? Math.floor(terms.toleranceUs / terms.intervalUs) : terms.limit
}

const GATHER_MS_MAX = 5_000

/** How late is harmless at a level: a window loses what is not taken at once, a bucket does when it is full. */
export function gatherMs(terms: LevelTerms | undefined): number {
  if (terms === undefined || terms.kind === 'quota') return GATHER_MS_MAX
  const harmlessUs = terms.kind === 'window' ? terms.windowUs / 50 : terms.toleranceUs / 4
  return Math.min(GATHER_MS_MAX, Math.floor(harmlessUs / 1000))
}

/** Units a second that it sustains. */
export function rateOf(terms: LevelTerms): number {
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
export function statedShare(level: PlannedLevel, policy: { limit: number; windowMs: number }): number {
  const stated = policy.limit / policy.windowMs
  if (!(stated > 0) || level.kind === 'quota') return 1
  const ours = level.kind === 'window' ? level.limit.limit / level.limit.windowMs : level.limit.rate / 1000
  const windowMs = level.kind === 'window' ? level.limit.windowMs : STEP_MS
  return policy.windowMs < windowMs * 0.99 || policy.windowMs > windowMs * PACE_WINDOWS_MAX
    ? 1
    : stated / ours
}
