import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import type { Limiter } from '../job/permit.ts'
import { FixedShare, membershipOf } from '../limiter/fixed-share.ts'
import { MemoryLimiter } from '../limiter/memory-limiter.ts'
import {
  type BucketLimit,
  type LimitPlan,
  type QuotaLimit,
  sharePlan,
  type WindowLimit,
} from '../limiter/plan.ts'
import { checkPlan, utilisationProblems } from '../limiter/plan-check.ts'
import { StackedLimiter } from '../limiter/stacked-limiter.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { redisOptionsOf } from './redis.ts'

/** The limits that daemons share through Redis, or the same decision in memory. No I/O. */
export function openLimiter(config: Config, metrics: Metrics, log: Log): Limiter {
  const { redis, limits } = config
  const plan = planOf(config)
  const coldStart = limits.cold_start
  if (redis === undefined) return new MemoryLimiter({ plan, coldStart, metrics })
  const membership = limits.redis_away === 'share' ? membershipOf(plan, limits.daemons_max) : undefined
  const shared = new StackedLimiter({
    plan,
    coldStart,
    membership,
    metrics,
    log,
    redis: redisOptionsOf(redis),
  })
  return membership === undefined ? shared : new FixedShare({ plan, shared, membership, metrics, log })
}

/** The plan of the `limits` section. Throws MillraceError of kind `usage` when a limit cannot work, or cannot be used. */
export function planOf(config: Config): LimitPlan {
  const { limits } = config
  const plan: LimitPlan = {
    global: limits.global,
    platforms: limits.platforms,
    defaultPlatform: limits.default_platform,
    endpoints: mapValues(limits.endpoints, (endpoints) => mapValues(endpoints, windowOf)),
    defaultEndpoint: windowOf(limits.default_endpoint),
    credentials: {
      ...ownBuckets(config),
      ...mapValues(limits.credentials, (limit) => ('rate' in limit ? limit : windowOf(limit))),
    },
    quotas: quotasOf(limits.quotas),
    arrivalJitterMs: limits.jitter,
    grantTimeoutMs: grantTimeoutMs(config),
  }
  const ours = limits.share === undefined ? plan : sharePlan(plan, limits.share)
  checkPlan(ours)
  const problems = utilisationProblems(ours, limits.latency)
  if (problems.length > 0) throw new MillraceError('LIMIT_UTILISATION', problems.join(' '), { kind: 'usage' })
  return ours
}

/** A permit is used within the jitter, and its request has ended one whole time-out later. */
export function grantTimeoutMs({ limits, fetch }: Config): number {
  return limits.jitter + fetch.timeout
}

type Section = Config['limits']

/**
 * Where a platform has several credentials each has a level of its own, for what the platform says of it: no tighter than the
 * platform's, unless `limits.credentials` says so.
 */
function ownBuckets({ platforms, limits }: Config): Record<string, BucketLimit> {
  const several = Object.entries(platforms).filter(([, { credentials }]) =>
    Object.values(credentials ?? {}).some((value) => typeof value !== 'string'),
  )
  return Object.fromEntries(
    several.map(([platform]) => [platform, limits.platforms[platform] ?? limits.default_platform]),
  )
}

function windowOf({ window, ...rest }: Section['default_endpoint']): WindowLimit {
  return { ...rest, windowMs: window }
}

function quotasOf(quotas: Section['quotas']): Record<string, QuotaLimit> {
  const kept: Record<string, QuotaLimit> = {}
  for (const [platform, quota] of Object.entries(quotas)) {
    if (quota === false) continue
    const { time_zone: timeZone, ...rest } = quota
    kept[platform] = { ...rest, timeZone }
  }
  return kept
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}
