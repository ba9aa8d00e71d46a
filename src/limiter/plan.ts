import { MillraceError } from '../job/errors.ts'

/** A token bucket as the platform enforces it: `burst` units at once, `rate` units a second sustained. */
export interface BucketLimit {
  readonly rate: number
  readonly burst: number
}

/** At most `limit` units in any window of `windowMs`. */
export interface WindowLimit {
  readonly limit: number
  readonly windowMs: number
  /** Default `causal`. */
  readonly mode?: WindowMode | undefined
}

/**
 * How a window takes into account that the platform counts arrivals while we count grants.
 * - `causal`: a grant fills its slot until `windowMs` after it was acknowledged (or `grantTimeoutMs` after the grant, when
 *   it never is). Needs no bound on delays; utilisation W / (W + latency).
 * - `bounded`: a grant is taken to arrive `arrivalJitterMs` after it was given. Needs no acknowledgement; utilisation
 *   W / (W + jitter), and only as right as the bound is.
 */
export type WindowMode = 'causal' | 'bounded'

/** All limits, as the platforms enforce them on everything we send. Plain data. */
export interface LimitPlan {
  readonly global: BucketLimit
  readonly platforms: Readonly<Record<string, BucketLimit>>
  /** For a platform that is not in `platforms`; without it such a platform is refused. */
  readonly defaultPlatform?: BucketLimit | undefined
  /** By platform, then by endpoint. */
  readonly endpoints: Readonly<Record<string, Readonly<Record<string, WindowLimit>>>>
  readonly defaultEndpoint: WindowLimit
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

export const GLOBAL_LEVEL = 'global'

export function platformLevel(platform: string): string {
  return `platform:${platform}`
}

export function endpointLevel(platform: string, endpoint: string): string {
  return `endpoint:${platform}/${endpoint}`
}

/** The bucket of a platform. Throws MillraceError `LIMIT_UNKNOWN_PLATFORM` when the plan has none. */
export function platformLimit(plan: LimitPlan, platform: string): BucketLimit {
  const limit = Object.hasOwn(plan.platforms, platform) ? plan.platforms[platform] : plan.defaultPlatform
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
  const endpoints = Object.hasOwn(plan.endpoints, platform) ? plan.endpoints[platform] : undefined
  const limit =
    endpoints !== undefined && Object.hasOwn(endpoints, endpoint) ? endpoints[endpoint] : undefined
  return limit ?? plan.defaultEndpoint
}

/** The burst that our own bucket has: the platform's, less what may arrive late from before. Units, not rounded. */
export function ownBurst(limit: BucketLimit, arrivalJitterMs: number): number {
  return limit.burst - (limit.rate * arrivalJitterMs) / 1000
}

/**
 * One daemon's part of every limit, for daemons that do not know of each other (`limits.share`). `share` is in (0, 1]; bursts
 * and windows are rounded down, so the parts never add up to more than the whole. May yield a plan that `checkPlan` refuses.
 */
export function sharePlan(plan: LimitPlan, share: number): LimitPlan {
  // 49 × (1 / 49) is a little less than 1 in floating point, and must not become 0.
  const whole = (amount: number) => Math.floor(amount * share + 1e-9)
  const bucket = (limit: BucketLimit) => ({ rate: limit.rate * share, burst: whole(limit.burst) })
  const window = (limit: WindowLimit) => ({ ...limit, limit: whole(limit.limit) })
  return {
    ...plan,
    global: bucket(plan.global),
    platforms: mapValues(plan.platforms, bucket),
    defaultPlatform: plan.defaultPlatform === undefined ? undefined : bucket(plan.defaultPlatform),
    endpoints: mapValues(plan.endpoints, (endpoints) => mapValues(endpoints, window)),
    defaultEndpoint: window(plan.defaultEndpoint),
  }
}

/** Throws one MillraceError `LIMIT_PLAN`, kind `usage`, that names everything in the plan that cannot work. */
export function checkPlan(plan: LimitPlan): void {
  const problems = planProblems(plan)
  if (problems.length > 0) throw new MillraceError('LIMIT_PLAN', problems.join(' '), { kind: 'usage' })
}

/** Everything in the plan that cannot work, in plain sentences; empty when all is well. */
export function planProblems(plan: LimitPlan): readonly string[] {
  const problems = [...nameProblems(plan)]
  const { arrivalJitterMs, grantTimeoutMs } = plan
  if (!(arrivalJitterMs >= 0 && arrivalJitterMs <= DAY_MS))
    problems.push(`arrivalJitterMs=${arrivalJitterMs}: expected 0 to ${DAY_MS}.`)
  if (!(grantTimeoutMs >= arrivalJitterMs && grantTimeoutMs <= DAY_MS))
    problems.push(
      `grantTimeoutMs=${grantTimeoutMs}: expected arrivalJitterMs (${arrivalJitterMs}) to ${DAY_MS}.`,
    )
  for (const [level, limit] of buckets(plan)) problems.push(...bucketProblems(level, limit, arrivalJitterMs))
  for (const [level, limit] of windows(plan)) problems.push(...windowProblems(level, limit))
  return problems
}

/** Below this share of a window's limit, a plan is refused rather than run slowly and in silence. */
const UTILISATION_MIN = 0.95

/**
 * The windows that are too short for the latency: between the grant and the end of its slot lies `windowMs` and the time
 * until the acknowledgement (causal) or the jitter (bounded), so at most W / (W + that) of the limit can be used. Lists
 * those that cannot reach 95%, in plain sentences. `latencyMs` is the expected time from grant to response headers.
 */
export function utilisationProblems(plan: LimitPlan, latencyMs: number): readonly string[] {
  const problems: string[] = []
  for (const [level, { limit, windowMs, mode }] of windows(plan)) {
    const bounded = mode === 'bounded'
    const delayMs = bounded ? plan.arrivalJitterMs : latencyMs
    const utilisation = windowMs / (windowMs + delayMs)
    if (utilisation >= UTILISATION_MIN) continue
    const windowMsMin = Math.ceil((delayMs * UTILISATION_MIN) / (1 - UTILISATION_MIN))
    problems.push(
      `${level}: of ${limit} per ${windowMs} ms only ${(utilisation * 100).toFixed(1)}% can be used, ` +
        `with ${delayMs} ms of ${bounded ? 'arrival jitter' : 'latency'}; expected at least 95%: ` +
        `state the limit over a longer window (${windowMsMin} ms or more) if the platform measures so.`,
    )
  }
  return problems
}

const DAY_MS = 86_400_000
/** One unit in 10 days: slower is a typing error. */
const RATE_MIN = 1e-6
const UNITS_MAX = 1e6
/** Printable ASCII without `/ { }`: a name is part of a Redis key, and its order is the order of its bytes. */
export const NAME = /^[!-.0-z|~]{1,64}$/

function* buckets(plan: LimitPlan): Generator<[string, BucketLimit]> {
  yield [GLOBAL_LEVEL, plan.global]
  for (const [platform, limit] of Object.entries(plan.platforms)) yield [platformLevel(platform), limit]
  if (plan.defaultPlatform !== undefined) yield ['default platform', plan.defaultPlatform]
}

function* windows(plan: LimitPlan): Generator<[string, WindowLimit]> {
  for (const [platform, endpoints] of Object.entries(plan.endpoints)) {
    for (const [endpoint, limit] of Object.entries(endpoints))
      yield [endpointLevel(platform, endpoint), limit]
  }
  yield ['default endpoint', plan.defaultEndpoint]
}

function* bucketProblems(level: string, limit: BucketLimit, jitterMs: number): Generator<string> {
  const { rate, burst } = limit
  if (!(rate >= RATE_MIN && rate <= UNITS_MAX))
    yield `${level}: rate ${rate}; expected ${RATE_MIN} to ${UNITS_MAX} a second.`
  else if (!(burst >= 1 && burst <= UNITS_MAX)) yield `${level}: burst ${burst}; expected 1 to ${UNITS_MAX}.`
  else if (ownBurst(limit, jitterMs) < 1) {
    yield `${level}: burst ${burst} less ${rate} a second × ${jitterMs} ms of arrival jitter leaves ` +
      `${ownBurst(limit, jitterMs).toFixed(2)}; expected at least 1: raise the burst, or lower the jitter.`
  }
}

function* windowProblems(level: string, { limit, windowMs, mode }: WindowLimit): Generator<string> {
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= UNITS_MAX))
    yield `${level}: limit ${limit}; expected a whole number, 1 to ${UNITS_MAX}.`
  if (!(windowMs >= 1 && windowMs <= 31 * DAY_MS))
    yield `${level}: windowMs ${windowMs}; expected 1 to ${31 * DAY_MS}.`
  if (mode !== undefined && mode !== 'causal' && mode !== 'bounded')
    yield `${level}: mode "${String(mode)}"; expected causal or bounded.`
}

function* nameProblems(plan: LimitPlan): Generator<string> {
  const names = new Set(Object.keys(plan.platforms))
  for (const [platform, endpoints] of Object.entries(plan.endpoints)) {
    names.add(platform)
    for (const endpoint of Object.keys(endpoints)) names.add(endpoint)
  }
  for (const name of names) {
    if (!NAME.test(name)) yield `The name "${name}": expected 1–64 printable ASCII characters without / { }.`
  }
}

function mapValues<V, W>(record: Readonly<Record<string, V>>, change: (value: V) => W): Record<string, W> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}
