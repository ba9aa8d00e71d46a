import { MillraceError } from '../job/errors.ts'
import { isTimeZone } from './calendar.ts'
import {
  type BucketLimit,
  chargeOf,
  credentialLevel,
  endpointLevel,
  GLOBAL_LEVEL,
  type LimitPlan,
  levelsOf,
  ownBurst,
  type PlannedLevel,
  platformLevel,
  quotaLevel,
  type WindowLimit,
} from './plan.ts'

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
  for (const level of everyLevel(plan)) problems.push(...levelProblems(level, arrivalJitterMs))
  return problems
}

/** Below this share of a window's limit, a plan is refused rather than run slowly and in silence. */
const UTILISATION_MIN = 0.95

/** Share of a window's limit that can be used, when a slot is taken for `delayMs` beyond the window. */
export function windowUtilisation(limit: WindowLimit, plan: LimitPlan, latencyMs: number): number {
  const delayMs = limit.mode === 'bounded' ? plan.arrivalJitterMs : latencyMs
  return limit.windowMs / (limit.windowMs + delayMs)
}

/**
 * The windows that are too short for the latency: between the grant and the end of its slot lies `windowMs` and the time
 * until the acknowledgement (causal) or the jitter (bounded), so at most W / (W + that) of the limit can be used. Lists
 * those that cannot reach 95%, in plain sentences. `latencyMs` is the expected time from grant to response headers.
 */
export function utilisationProblems(plan: LimitPlan, latencyMs: number): readonly string[] {
  const problems: string[] = []
  for (const { name, kind, limit } of everyLevel(plan)) {
    if (kind !== 'window') continue
    const utilisation = windowUtilisation(limit, plan, latencyMs)
    if (utilisation >= UTILISATION_MIN) continue
    const bounded = limit.mode === 'bounded'
    const delayMs = bounded ? plan.arrivalJitterMs : latencyMs
    const windowMsMin = Math.ceil((delayMs * UTILISATION_MIN) / (1 - UTILISATION_MIN))
    const delay = bounded
      ? `${delayMs} ms of arrival jitter (limits.jitter)`
      : `${delayMs} ms until a reply begins (limits.latency)`
    problems.push(
      `${name}: of ${limit.limit} per ${limit.windowMs} ms only ${(utilisation * 100).toFixed(1)}% can be used, ` +
        `with ${delay}; expected at least 95%: ` +
        `state the limit over a longer window (${windowMsMin} ms or more) if the platform measures so, or lower the delay if it is less.`,
    )
  }
  return problems
}

/** The calls that a level could never grant, because one costs more than it holds; in plain sentences. */
export function costProblems(
  plan: LimitPlan,
  calls: readonly { readonly platform: string; readonly endpoint: string; readonly cost: number }[],
): readonly string[] {
  return calls.flatMap(({ cost, ...call }) =>
    levelsOf(plan, call).flatMap((level) => {
      const holds =
        level.kind === 'bucket' ? Math.floor(ownBurst(level.limit, plan.arrivalJitterMs)) : level.limit.limit
      const charge = chargeOf(level, cost)
      if (charge <= holds) return []
      return [
        `${level.name} holds ${holds} units; expected at least ${charge}, which one ${call.endpoint} costs.`,
      ]
    }),
  )
}

/** Every level that the plan names, the defaults included; those of credentials under the name `*`. */
function* everyLevel(plan: LimitPlan): Generator<PlannedLevel> {
  yield { name: GLOBAL_LEVEL, kind: 'bucket', limit: plan.global }
  for (const [platform, limit] of Object.entries(plan.platforms))
    yield { name: platformLevel(platform), kind: 'bucket', limit }
  if (plan.defaultPlatform !== undefined)
    yield { name: 'default platform', kind: 'bucket', limit: plan.defaultPlatform }
  for (const [platform, endpoints] of Object.entries(plan.endpoints)) {
    for (const [endpoint, limit] of Object.entries(endpoints))
      yield { name: endpointLevel(platform, endpoint), kind: 'window', limit }
  }
  yield { name: 'default endpoint', kind: 'window', limit: plan.defaultEndpoint }
  for (const [platform, limit] of Object.entries(plan.credentials ?? {})) {
    const name = credentialLevel(platform, '*')
    yield 'rate' in limit ? { name, kind: 'bucket', limit } : { name, kind: 'window', limit }
  }
  for (const [platform, limit] of Object.entries(plan.quotas ?? {}))
    yield { name: quotaLevel(platform), kind: 'quota', limit }
}

const DAY_MS = 86_400_000
/** One unit in 10 days: slower is a typing error. */
const RATE_MIN = 1e-6
const UNITS_MAX = 1e6
/** A quota may be stated for a month. */
const QUOTA_MAX = 1e9
/** Printable ASCII without `/ { } @`: a name is part of a Redis key, and its order is the order of its bytes. */
export const NAME = /^[!-.0-?A-z|~]{1,64}$/

function* levelProblems(level: PlannedLevel, jitterMs: number): Generator<string> {
  const { name, kind, limit } = level
  if (kind === 'bucket') return yield* bucketProblems(name, limit, jitterMs)
  const most = kind === 'quota' ? QUOTA_MAX : UNITS_MAX
  if (!(Number.isInteger(limit.limit) && limit.limit >= 1 && limit.limit <= most))
    yield `${name}: limit ${limit.limit}; expected a whole number, 1 to ${most}.`
  if (kind === 'quota') {
    if (!isTimeZone(limit.timeZone))
      yield `${name}: time zone "${limit.timeZone}"; expected an IANA name such as America/Los_Angeles.`
    return
  }
  if (!(limit.windowMs >= 1 && limit.windowMs <= 31 * DAY_MS))
    yield `${name}: windowMs ${limit.windowMs}; expected 1 to ${31 * DAY_MS}.`
  if (limit.mode !== undefined && limit.mode !== 'causal' && limit.mode !== 'bounded')
    yield `${name}: mode "${String(limit.mode)}"; expected causal or bounded.`
}

function* bucketProblems(name: string, limit: BucketLimit, jitterMs: number): Generator<string> {
  const { rate, burst } = limit
  if (!(rate >= RATE_MIN && rate <= UNITS_MAX))
    yield `${name}: rate ${rate}; expected ${RATE_MIN} to ${UNITS_MAX} a second.`
  else if (!(burst >= 1 && burst <= UNITS_MAX)) yield `${name}: burst ${burst}; expected 1 to ${UNITS_MAX}.`
  else if (ownBurst(limit, jitterMs) < 1) {
    yield `${name}: burst ${burst} less ${rate} a second × ${jitterMs} ms of arrival jitter leaves ` +
      `${ownBurst(limit, jitterMs).toFixed(2)}; expected at least 1: raise the burst, or lower the jitter.`
  }
}

function* nameProblems(plan: LimitPlan): Generator<string> {
  const names = new Set([
    ...Object.keys(plan.platforms),
    ...Object.keys(plan.credentials ?? {}),
    ...Object.keys(plan.quotas ?? {}),
  ])
  for (const [platform, endpoints] of Object.entries(plan.endpoints)) {
    names.add(platform)
    for (const endpoint of Object.keys(endpoints)) names.add(endpoint)
  }
  for (const name of names) {
    if (!NAME.test(name))
      yield `The name "${name}": expected 1–64 printable ASCII characters without / { } @.`
  }
}
