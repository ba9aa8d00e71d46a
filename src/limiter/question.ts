import { MillraceError } from '../job/errors.ts'
import type { Demand, Grant, LevelState } from '../job/permit.ts'
import {
  endpointLevel,
  endpointLimit,
  GLOBAL_LEVEL,
  type LimitPlan,
  NAME,
  ownBurst,
  platformLevel,
  platformLimit,
} from './plan.ts'

/**
 * How to begin when nothing is known of what was granted before (a first start, or a store that lost its data, which look
 * the same from here): `empty` starts with empty buckets and windows that stay full for `grantTimeoutMs` and one window;
 * `full` grants at once, and may break limits if somebody was granted something shortly before.
 */
export type ColdStart = 'empty' | 'full'

/** A bucket as GCRA (ITU-T I.371): one unit every `intervalUs`, ahead of schedule by `toleranceUs` at most. */
export interface BucketTerms {
  readonly intervalUs: number
  readonly toleranceUs: number
}

export interface WindowTerms {
  readonly endpoint: string
  readonly limit: number
  readonly windowUs: number
  /** Times in the log are rounded up to multiples of this, which bounds the log's length and costs 0.1% of a window at most. */
  readonly grainUs: number
  /** A grant without acknowledgement counts as arrived this long after it was given. */
  readonly arriveUs: number
  /** Whether acknowledgements count. */
  readonly causal: boolean
}

/** What every question to a decider says: all limits in whole microseconds and units. Sent to the script as JSON. */
export interface Terms {
  readonly coldStart: ColdStart
  readonly platform: string
  readonly global: BucketTerms
  readonly bucket: BucketTerms
  readonly windows: readonly WindowTerms[]
}

export interface DecideQuestion extends Terms {
  readonly op: 'decide'
  readonly id: string
  /** A repeated call is told its permits again for this long; afterwards they are too old to be used. */
  readonly replayUs: number
  /** Sorted by endpoint. `window` is an index of `windows`. */
  readonly wants: readonly { readonly window: number; readonly count: number; readonly cost: number }[]
  readonly acks: readonly { readonly window: number; readonly grant: string; readonly units: number }[]
}

/** Blocks (for `durationUs` from now) or lifts a block: of the endpoint that is the only window, or, without one, the platform. */
export interface BlockQuestion extends Terms {
  readonly op: 'block' | 'unblock'
  readonly durationUs: number
}

export interface LevelsQuestion extends Terms {
  readonly op: 'levels'
}

export type Question = DecideQuestion | BlockQuestion | LevelsQuestion

/** The answer to one want, in the question's order. `level`: 0 none, 1 global, 2 platform, 3 endpoint. */
export interface Verdict {
  readonly granted: number
  readonly waitUs: number
  readonly level: number
  /** Units that every level still has for this endpoint. */
  readonly remaining: number
}

/** One level's state: global, platform, then the windows in the question's order. */
export interface LevelReading {
  readonly remaining: number
  /** Unix microseconds, 0 when not blocked. */
  readonly blockedUntilUs: number
  /** Units granted in the last `spanUs`. */
  readonly granted: number
  readonly spanUs: number
}

const WANTS_MAX = 256
const COUNT_MAX = 10_000
const ACKS_MAX = 20_000
const ID_LENGTH_MAX = 128
/** Entries of a window's log, about. */
const GRAINS = 1024

/** A demand in a decider's terms, and for each want of the question which want of the demand it is. */
export interface Compiled {
  readonly question: DecideQuestion
  readonly order: readonly number[]
}

/** Throws MillraceError, kind `usage`, for a demand that can never be granted or is out of bounds. */
export function decideQuestion(plan: LimitPlan, demand: Demand, coldStart: ColdStart): Compiled {
  const { requestId, platform, wants, acks } = demand
  if (requestId.length < 1 || requestId.length > ID_LENGTH_MAX)
    throw refused(`requestId has ${requestId.length} characters; expected 1 to ${ID_LENGTH_MAX}`)
  if (wants.length > WANTS_MAX) throw refused(`${wants.length} wants; expected at most ${WANTS_MAX}`)
  if (acks.length > ACKS_MAX) throw refused(`${acks.length} acknowledgements; expected at most ${ACKS_MAX}`)

  const windows: WindowTerms[] = []
  const indices = new Map<string, number>()
  const windowOf = (endpoint: string) => {
    let index = indices.get(endpoint)
    if (index === undefined) {
      if (windows.length >= WANTS_MAX) throw refused(`more than ${WANTS_MAX} endpoints`)
      index = windows.length
      indices.set(endpoint, index)
      windows.push(windowTerms(plan, platform, endpoint))
    }
    return index
  }
  const order = wants.map((_, index) => index)
  order.sort((a, b) => compare(wants[a]!.endpoint, wants[b]!.endpoint) || a - b)
  const terms = bucketsOf(plan, platform, coldStart)
  const unitsMax = (bucket: BucketTerms) => Math.floor(bucket.toleranceUs / bucket.intervalUs)
  const costMax = Math.min(unitsMax(terms.global), unitsMax(terms.bucket))
  return {
    order,
    question: {
      op: 'decide',
      ...terms,
      windows,
      id: requestId,
      replayUs: Math.floor(plan.arrivalJitterMs * 1000),
      wants: order.map((index) => {
        const { endpoint, count, cost } = wants[index]!
        const window = windowOf(endpoint)
        const most = Math.min(costMax, windows[window]!.limit)
        const level = endpointLevel(platform, endpoint)
        if (!Number.isInteger(count) || count < 0 || count > COUNT_MAX)
          throw refused(`${level}: count ${count}; expected a whole number, 0 to ${COUNT_MAX}`)
        if (!Number.isInteger(cost) || cost < 1 || cost > most)
          throw refused(
            `${level}: cost ${cost}; expected a whole number, 1 to ${most}, which its levels hold`,
          )
        return { window, count, cost }
      }),
      acks: acks.map(({ endpoint, grant, units }) => {
        if (!Number.isInteger(units) || units < 1 || units > 1e9)
          throw refused(
            `${endpointLevel(platform, endpoint)}: ${units} units acknowledged; expected 1 or more`,
          )
        return { window: windowOf(endpoint), grant, units }
      }),
    },
  }
}

/** Names a grant. Derived from the request, so that a repetition names the same ones; unique as long as request ids are. */
export function grantName(requestId: string, want: number): string {
  return `${requestId}/${want}`
}

/** The verdicts in the demand's words and order. */
export function grantsOf(demand: Demand, compiled: Compiled, verdicts: readonly Verdict[]): readonly Grant[] {
  const { platform, requestId } = demand
  const grants: Grant[] = []
  for (const [index, verdict] of verdicts.entries()) {
    const place = compiled.order[index]!
    const { endpoint } = demand.wants[place]!
    grants[place] = {
      endpoint,
      granted: verdict.granted,
      grant: verdict.granted > 0 ? grantName(requestId, index) : '',
      // Rounded up: a timer that fires after this many ms is not early.
      waitMs: Math.ceil(verdict.waitUs / 1000),
      level: levelName(verdict.level, platform, endpoint),
    }
  }
  return grants
}

export function blockQuestion(
  plan: LimitPlan,
  target: { readonly platform: string; readonly endpoint?: string },
  durationMs: number,
  coldStart: ColdStart,
  op: 'block' | 'unblock' = 'block',
): BlockQuestion {
  const { platform, endpoint } = target
  if (!(durationMs >= 0)) throw refused(`a block of ${durationMs} ms; expected 0 or more`)
  return {
    op,
    ...bucketsOf(plan, platform, coldStart),
    windows: endpoint === undefined ? [] : [windowTerms(plan, platform, endpoint)],
    // A header may say anything; longer than a month is taken for a month.
    durationUs: Math.ceil(Math.min(durationMs, BLOCK_MS_MAX) * 1000),
  }
}

const BLOCK_MS_MAX = 31 * 86_400_000

export function levelsQuestion(plan: LimitPlan, platform: string, coldStart: ColdStart): LevelsQuestion {
  const names = Object.hasOwn(plan.endpoints, platform) ? Object.keys(plan.endpoints[platform]!) : []
  return {
    op: 'levels',
    ...bucketsOf(plan, platform, coldStart),
    windows: names.map((endpoint) => windowTerms(plan, platform, endpoint)),
  }
}

/** Readings in the port's words, in the order global, platform, endpoints. */
export function levelsOf(question: LevelsQuestion, readings: readonly LevelReading[]): readonly LevelState[] {
  return readings.map((reading, index): LevelState => {
    const common = {
      remaining: reading.remaining,
      blockedUntilMs: Math.ceil(reading.blockedUntilUs / 1000),
      // Measured over 60 to 70 s, and scaled.
      grantedLastMinute: Math.round((reading.granted * 60e6 * 100) / reading.spanUs) / 100,
    }
    if (index < 2) {
      const bucket = index === 0 ? question.global : question.bucket
      return {
        level: index === 0 ? GLOBAL_LEVEL : platformLevel(question.platform),
        kind: 'bucket',
        ...common,
        capacity: Math.floor(bucket.toleranceUs / bucket.intervalUs),
        rate: 1e6 / bucket.intervalUs,
      }
    }
    const window = question.windows[index - 2]!
    return {
      level: endpointLevel(question.platform, window.endpoint),
      kind: 'window',
      ...common,
      capacity: window.limit,
      rate: (window.limit * 1e6) / window.windowUs,
    }
  })
}

function bucketsOf(plan: LimitPlan, platform: string, coldStart: ColdStart) {
  const limit = platformLimit(plan, platform)
  if (!NAME.test(platform))
    throw refused(`the platform name "${platform}"; expected printable ASCII without / { }`)
  return {
    coldStart,
    platform,
    global: bucketTerms(plan.global.rate, ownBurst(plan.global, plan.arrivalJitterMs)),
    bucket: bucketTerms(limit.rate, ownBurst(limit, plan.arrivalJitterMs)),
  }
}

/** Rounded to the safe side: the interval up (at 1,000 a second 0.1% at most), the tolerance down. */
function bucketTerms(rate: number, burst: number): BucketTerms {
  const intervalUs = Math.ceil(1e6 / rate)
  return { intervalUs, toleranceUs: Math.floor(burst * intervalUs) }
}

function windowTerms(plan: LimitPlan, platform: string, endpoint: string): WindowTerms {
  if (!NAME.test(endpoint))
    throw refused(`the endpoint name "${endpoint}"; expected printable ASCII without / { }`)
  const { limit, windowMs, mode } = endpointLimit(plan, platform, endpoint)
  const causal = mode !== 'bounded'
  const windowUs = Math.ceil(windowMs * 1000)
  return {
    endpoint,
    limit,
    windowUs,
    grainUs: Math.max(1, Math.floor(windowUs / GRAINS)),
    arriveUs: Math.ceil((causal ? plan.grantTimeoutMs : plan.arrivalJitterMs) * 1000),
    causal,
  }
}

function levelName(level: number, platform: string, endpoint: string): string | null {
  if (level === 1) return GLOBAL_LEVEL
  if (level === 2) return platformLevel(platform)
  return level === 3 ? endpointLevel(platform, endpoint) : null
}

/** By code units, which for the names we allow is by bytes, as the script compares. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function refused(what: string): MillraceError {
  return new MillraceError('LIMIT_DEMAND', `The limiter was asked for what it cannot decide: ${what}.`, {
    kind: 'usage',
  })
}
