import {
  type CalendarPeriod,
  chargeOf,
  type LimitPlan,
  levelGroup,
  levelsOf,
  ownBurst,
  type PlannedLevel,
} from './plan.ts'
import { windowUtilisation } from './plan-check.ts'

/** Calls that each creator of a platform needs once in every period. */
export interface PlannedCall {
  readonly platform: string
  readonly endpoint: string
  /** Default: the main one. Where several share the work, each has its part of the calls. */
  readonly credential?: string | undefined
  /** Units that one call costs. */
  readonly cost: number
  /** Of one creator in one period; may be a fraction. Calls that jobs share are counted in full: an upper bound. */
  readonly calls: number
}

/** What is to be done, over and over. */
export interface Workload {
  /** On each platform. */
  readonly creators: number
  /** Every creator once in this time. */
  readonly periodMs: number
  readonly calls: readonly PlannedCall[]
}

/** What a workload asks of one level. Quantities are in what the level counts: requests, or units. */
export interface LevelLoad {
  readonly level: PlannedLevel
  /** By all creators in one period; for the global level by those of all platforms. */
  readonly needed: number
  /**
   * What the level gives in one period, when there is work all the time:
   * - bucket: rate × period; the burst is part of it, since it is paid back;
   * - window: limit × period / window × utilisation, see `windowUtilisation`;
   * - quota: limit × period / calendar period, also when that is a part of the quota only: the other periods have the rest.
   */
  readonly capacity: number
  /** needed / capacity: above 1 the level cannot keep up. */
  readonly load: number
  /**
   * How long one round takes, all creators once, when this level alone held it back and was at rest before:
   * - bucket: (needed − burst) / rate, with the burst that is left after `arrivalJitterMs`;
   * - window: needed / (limit × utilisation / window), which is less than one window too long;
   * - quota: the calendar periods that have to begin meanwhile, ⌈needed / limit⌉ − 1.
   */
  readonly roundMs: number
  /** The shortest period in which the level gives what is needed. */
  readonly everyMsMin: number
  /** How many creators on each platform it could serve in every period. */
  readonly creatorsMax: number
}

/** What a workload asks of the limits of one platform. */
export interface PlatformCapacity {
  readonly platform: string
  /** Requests for all its creators in one period. */
  readonly requests: number
  /** Each level that its calls pass, widest first. */
  readonly levels: readonly LevelLoad[]
  /** The level with the highest load; of equals the widest. */
  readonly decisive: LevelLoad
  /** The level whose round takes longest, which decides how long the round takes. */
  readonly slowest: LevelLoad
  /** No level has a load above 1. Then a round takes no longer than the period. */
  readonly fits: boolean
  /** The most creators on each platform that would fit. */
  readonly creatorsMax: number
  /** The shortest period that would fit. */
  readonly everyMsMin: number
}

/**
 * The load that a workload puts on every level, by platform in the order of the calls. `latencyMs` is the expected time from
 * a grant to the first byte of the reply. Retries are not counted, and that every level can hold the dearest call is taken for
 * granted (see plan-check). Pure. Throws MillraceError `LIMIT_UNKNOWN_PLATFORM` when the plan has no limit for a platform.
 */
export function capacityOf(
  plan: LimitPlan,
  latencyMs: number,
  workload: Workload,
): readonly PlatformCapacity[] {
  const { creators, periodMs, calls } = workload
  const demands = new Map<string, { level: PlannedLevel; perCreator: number }>()
  const platforms = new Map<string, { requests: number; levels: Set<string> }>()
  for (const call of calls) {
    const platform = platforms.get(call.platform) ?? { requests: 0, levels: new Set() }
    platforms.set(call.platform, platform)
    platform.requests += call.calls * creators
    for (const level of levelsOf(plan, call)) {
      platform.levels.add(level.name)
      const demand = demands.get(level.name) ?? { level, perCreator: 0 }
      demands.set(level.name, demand)
      demand.perCreator += call.calls * chargeOf(level, call.cost)
    }
  }

  const loadOf = (name: string): LevelLoad => {
    const { level, perCreator } = demands.get(name)!
    const needed = perCreator * creators
    const perMs = sustainedPerMs(level, plan, latencyMs)
    const capacity = perMs * periodMs
    return {
      level,
      needed,
      capacity,
      load: needed / capacity,
      roundMs: roundMsOf(level, needed, perMs, plan),
      everyMsMin: needed / perMs,
      creatorsMax: Math.floor((capacity / perCreator) * (1 + ROUNDING)),
    }
  }
  return [...platforms].map(([platform, { requests, levels }]) => {
    const widestFirst = [...levels].map(loadOf).sort((a, b) => widthOf(a) - widthOf(b))
    return summed(platform, requests, widestFirst)
  })
}

/** Sums of fractions that should come out even do not. */
const ROUNDING = 1e-9

function sustainedPerMs(level: PlannedLevel, plan: LimitPlan, latencyMs: number): number {
  switch (level.kind) {
    case 'bucket':
      return level.limit.rate / 1000
    case 'window':
      return (level.limit.limit * windowUtilisation(level.limit, plan, latencyMs)) / level.limit.windowMs
    case 'quota':
      return level.limit.limit / PERIOD_MS[level.limit.period]
  }
}

function roundMsOf(level: PlannedLevel, needed: number, perMs: number, plan: LimitPlan): number {
  switch (level.kind) {
    case 'bucket':
      return Math.max(0, needed - ownBurst(level.limit, plan.arrivalJitterMs)) / perMs
    case 'window':
      return needed / perMs
    case 'quota': {
      const { limit, period } = level.limit
      return Math.max(0, Math.ceil((needed / limit) * (1 - ROUNDING)) - 1) * PERIOD_MS[period]
    }
  }
}

const DAY_MS = 86_400_000

/** Length of a calendar period: of a month the longest, so that what fits, fits in each of them. Days have 24 hours. */
export const PERIOD_MS: Readonly<Record<CalendarPeriod, number>> = {
  hour: 3_600_000,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 31 * DAY_MS,
}

const WIDTHS = ['global', 'platform', 'endpoint', 'credential', 'quota']

function widthOf({ level }: LevelLoad): number {
  return WIDTHS.indexOf(levelGroup(level.name))
}

function summed(platform: string, requests: number, levels: readonly LevelLoad[]): PlatformCapacity {
  const most = (of: (one: LevelLoad) => number) =>
    levels.reduce((best, one) => (of(one) > of(best) ? one : best))
  const decisive = most(({ load }) => load)
  return {
    platform,
    requests,
    levels,
    decisive,
    slowest: most(({ roundMs }) => roundMs),
    fits: decisive.load <= 1 + ROUNDING,
    creatorsMax: Math.min(...levels.map(({ creatorsMax }) => creatorsMax)),
    everyMsMin: Math.max(...levels.map(({ everyMsMin }) => everyMsMin)),
  }
}
