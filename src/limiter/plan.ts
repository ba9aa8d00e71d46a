import { MAIN_CREDENTIAL } from '../job/credential.ts'
import { MillraceError } from '../job/errors.ts'
import type { LevelKind } from '../job/permit.ts'

/** What a level counts: every request as one, or each by its cost in units (a search may cost 100). */
export type Counting = 'requests' | 'units'

/** A token bucket as the platform enforces it: `burst` at once, `rate` a second sustained. */
export interface BucketLimit {
  readonly rate: number
  readonly burst: number
  /** Default `requests`. */
  readonly counts?: Counting | undefined
}

/** At most `limit` in any window of `windowMs`. */
export interface WindowLimit {
  readonly limit: number
  readonly windowMs: number
  /** Default `causal`. */
  readonly mode?: WindowMode | undefined
  /** Default `requests`. */
  readonly counts?: Counting | undefined
}

/**
 * How a window takes into account that the platform counts arrivals while we count grants.
 * - `causal`: a grant fills its slot until `windowMs` after it was acknowledged (or `grantTimeoutMs` after the grant, when
 *   it never is). Needs no bound on delays; utilisation W / (W + latency).
 * - `bounded`: a grant is taken to arrive `arrivalJitterMs` after it was given. Needs no acknowledgement; utilisation
 *   W / (W + jitter), and only as right as the bound is.
 */
export type WindowMode = 'causal' | 'bounded'

/** At most `limit` units in each period of the calendar, as the clocks of `timeZone` show it. */
export interface QuotaLimit {
  readonly limit: number
  readonly period: CalendarPeriod
  /** IANA name, e.g. `America/Los_Angeles`. */
  readonly timeZone: string
  /** Default `units`. */
  readonly counts?: Counting | undefined
  /** Whether every credential has a quota of its own (the default), or all of the platform share one. */
  readonly per?: 'credential' | 'platform' | undefined
}

/** Weeks begin on Monday. */
export type CalendarPeriod = 'hour' | 'day' | 'week' | 'month'

/** All limits, as the platforms enforce them on everything we send. Plain data. */
export interface LimitPlan {
  readonly global: BucketLimit
  readonly platforms: Readonly<Record<string, BucketLimit>>
  /** For a platform that is not in `platforms`; without it such a platform is refused. */
  readonly defaultPlatform?: BucketLimit | undefined
  /** By platform, then by endpoint. */
  readonly endpoints: Readonly<Record<string, Readonly<Record<string, WindowLimit>>>>
  readonly defaultEndpoint: WindowLimit
  /** Of every credential on its own, by platform. */
  readonly credentials?: Readonly<Record<string, BucketLimit | WindowLimit>> | undefined
  /** By platform. */
  readonly quotas?: Readonly<Record<string, QuotaLimit>> | undefined
  /**
   * How long after its grant a request may reach the platform, at most. The daemon's part of it is the permit's deadline,
   * counted from the moment the call to the limiter was sent; the network has the rest. Buckets run with
   * `burst − rate × arrivalJitterMs`, which costs no sustained rate.
   */
  readonly arrivalJitterMs: number
  /**
   * A grant that was not acknowledged is taken to have arrived this long after it was given. At least `arrivalJitterMs` and
   * the longest time a request may take until it is given up.
   */
  readonly grantTimeoutMs: number
}

/** A level of the plan: its name, which is the same in metrics, in Redis and in messages, and its limit. */
export type PlannedLevel =
  | { readonly name: string; readonly kind: 'bucket'; readonly limit: BucketLimit }
  | { readonly name: string; readonly kind: 'window'; readonly limit: WindowLimit }
  | { readonly name: string; readonly kind: 'quota'; readonly limit: QuotaLimit }

export const GLOBAL_LEVEL = 'global'

export function platformLevel(platform: string): string {
  return `platform:${platform}`
}

export function endpointLevel(platform: string, endpoint: string): string {
  return `endpoint:${platform}/${endpoint}`
}

export function credentialLevel(platform: string, credential: string): string {
  return `credential:${platform}/${credential}`
}

/** The quota of one credential, or of the whole platform. */
export function quotaLevel(platform: string, credential?: string): string {
  return credential === undefined ? `quota:${platform}` : `quota:${platform}/${credential}`
}

/** The kind of level that a name belongs to, e.g. `endpoint`: a label of few values for metrics. */
export function levelGroup(level: string): string {
  return level.split(':', 1)[0] ?? level
}

/**
 * Every level that a call has to pass, widest first: global, platform, its quota, endpoint, credential. Throws MillraceError
 * `LIMIT_UNKNOWN_PLATFORM` when the plan has no limit for the platform.
 */
export function levelsOf(
  plan: LimitPlan,
  call: { platform: string; endpoint: string; credential?: string | undefined },
): readonly PlannedLevel[] {
  const { platform, endpoint, credential } = call
  return [
    ...platformLevels(plan, platform),
    {
      name: endpointLevel(platform, endpoint),
      kind: 'window',
      limit: endpointLimit(plan, platform, endpoint),
    },
    ...credentialLevels(plan, platform, credential ?? MAIN_CREDENTIAL),
  ]
}

/** The levels that all calls of a platform share. */
export function platformLevels(plan: LimitPlan, platform: string): readonly PlannedLevel[] {
  const levels: PlannedLevel[] = [
    { name: GLOBAL_LEVEL, kind: 'bucket', limit: plan.global },
    { name: platformLevel(platform), kind: 'bucket', limit: platformLimit(plan, platform) },
  ]
  const quota = own(plan.quotas, platform)
  if (quota?.per === 'platform') levels.push({ name: quotaLevel(platform), kind: 'quota', limit: quota })
  return levels
}

/** The levels of one credential. */
export function credentialLevels(
  plan: LimitPlan,
  platform: string,
  credential: string,
): readonly PlannedLevel[] {
  const levels: PlannedLevel[] = []
  const limit = own(plan.credentials, platform)
  const name = credentialLevel(platform, credential)
  if (limit !== undefined) {
    levels.push('rate' in limit ? { name, kind: 'bucket', limit } : { name, kind: 'window', limit })
  }
  const quota = own(plan.quotas, platform)
  if (quota !== undefined && quota.per !== 'platform')
    levels.push({ name: quotaLevel(platform, credential), kind: 'quota', limit: quota })
  return levels
}

/** The bucket of a platform. Throws MillraceError `LIMIT_UNKNOWN_PLATFORM` when the plan has none. */
export function platformLimit(plan: LimitPlan, platform: string): BucketLimit {
  const limit = own(plan.platforms, platform) ?? plan.defaultPlatform
  if (limit === undefined) {
    throw new MillraceError(
      'LIMIT_UNKNOWN_PLATFORM',
      `There is no limit for platform "${platform}"; expected one of ${Object.keys(plan.platforms).join(', ')}: add limits.platforms.${platform}.`,
      { kind: 'usage' },
    )
  }
  return limit
}

/** The window of an endpoint, or the default one. */
export function endpointLimit(plan: LimitPlan, platform: string, endpoint: string): WindowLimit {
  return own(own(plan.endpoints, platform), endpoint) ?? plan.defaultEndpoint
}

/** What one call takes from a level. */
export function chargeOf(level: PlannedLevel, cost: number): number {
  const counts = level.limit.counts ?? DEFAULT_COUNTING[level.kind]
  return counts === 'units' ? cost : 1
}

/** Platforms state rates in requests, and long quotas in units. */
const DEFAULT_COUNTING: Readonly<Record<LevelKind, Counting>> = {
  bucket: 'requests',
  window: 'requests',
  quota: 'units',
}

/** The burst that our own bucket has: the platform's, less what may arrive late from before. Not rounded. */
export function ownBurst(limit: BucketLimit, arrivalJitterMs: number): number {
  return limit.burst - (limit.rate * arrivalJitterMs) / 1000
}

/** Until whatever was granted has left every window, and an empty bucket is full. Quotas are counted on. */
export function settlingMs(plan: LimitPlan): number {
  const credentials = Object.values(plan.credentials ?? {})
  const windows = [
    plan.defaultEndpoint,
    ...Object.values(plan.endpoints).flatMap((one) => Object.values(one)),
  ]
  const buckets = [
    plan.global,
    ...Object.values(plan.platforms),
    ...(plan.defaultPlatform ? [plan.defaultPlatform] : []),
  ]
  for (const limit of credentials) {
    if ('rate' in limit) buckets.push(limit)
    else windows.push(limit)
  }
  const longest = Math.max(...windows.map(({ windowMs }) => windowMs))
  const slowest = Math.max(...buckets.map(({ rate, burst }) => (burst * 1000) / rate))
  return Math.max(plan.grantTimeoutMs + longest, slowest)
}

/**
 * One daemon's part of every limit, for daemons that do not know of each other. `share` is in (0, 1]; bursts, windows and quotas
 * are rounded down, so the parts never add up to more than the whole. May yield a plan that `checkPlan` refuses.
 */
export function sharePlan(plan: LimitPlan, share: number): LimitPlan {
  // 49 × (1 / 49) is a little less than 1 in floating point, and must not become 0.
  const whole = (amount: number) => Math.floor(amount * share + 1e-9)
  const bucket = (limit: BucketLimit) => ({ ...limit, rate: limit.rate * share, burst: whole(limit.burst) })
  const window = <L extends WindowLimit | QuotaLimit>(limit: L): L => ({
    ...limit,
    limit: whole(limit.limit),
  })
  return {
    ...plan,
    global: bucket(plan.global),
    platforms: mapValues(plan.platforms, bucket),
    defaultPlatform: plan.defaultPlatform === undefined ? undefined : bucket(plan.defaultPlatform),
    endpoints: mapValues(plan.endpoints, (endpoints) => mapValues(endpoints, window)),
    defaultEndpoint: window(plan.defaultEndpoint),
    credentials: mapValues(plan.credentials ?? {}, (limit) =>
      'rate' in limit ? bucket(limit) : window(limit),
    ),
    quotas: mapValues(plan.quotas ?? {}, window),
  }
}

function own<V>(record: Readonly<Record<string, V>> | undefined, key: string): V | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined
}

function mapValues<V, W>(record: Readonly<Record<string, V>>, change: (value: V) => W): Record<string, W> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}
