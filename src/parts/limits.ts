import type { Config } from '../config/schema.ts'
import type { Limiter } from '../job/permit.ts'
import { MemoryLimiter } from '../limiter/memory-limiter.ts'
import { type LimitPlan, sharePlan } from '../limiter/plan.ts'
import { checkPlan } from '../limiter/plan-check.ts'
import { StackedLimiter } from '../limiter/stacked-limiter.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { tlsOf } from './kafka.ts'

/** The limits that daemons share through Redis, or the same decision in memory. No I/O. */
export function openLimiter(config: Config, metrics: Metrics, log: Log): Limiter {
  const plan = planOf(config)
  const coldStart = config.limits.cold_start
  const section = config.redis
  if (section === undefined) return new MemoryLimiter({ plan, coldStart, metrics })
  const { url, username, password } = section
  return new StackedLimiter({
    plan,
    coldStart,
    metrics,
    log,
    redis: {
      url,
      keyPrefix: section.key_prefix,
      commandTimeoutMs: section.command_timeout,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(section.tls === false ? {} : { tls: tlsOf(section.tls, 'redis.tls') }),
    },
  })
}

/** The plan of the `limits` section. Throws MillraceError of kind `usage` when a limit cannot work. */
export function grantTimeoutMs({ limits, fetch }: Config): number {
  // A permit is used within the jitter, and its request has ended one whole time-out later.
  return limits.jitter + fetch.timeout
}

export function planOf(config: Config): LimitPlan {
  const { limits, fetch } = config
  const plan: LimitPlan = {
    global: limits.global,
    platforms: limits.platforms,
    defaultPlatform: limits.default_platform,
    endpoints: mapValues(limits.endpoints, (endpoints) => mapValues(endpoints, windowOf)),
    defaultEndpoint: windowOf(limits.default_endpoint),
    arrivalJitterMs: limits.jitter,
    // A permit is used within the jitter, and its request has ended one whole time-out later.
    grantTimeoutMs: limits.jitter + fetch.timeout,
  }
  const ours = limits.share === undefined ? plan : sharePlan(plan, limits.share)
  checkPlan(ours)
  return ours
}

function windowOf(section: { limit: number; window: number }): { limit: number; windowMs: number } {
  return { limit: section.limit, windowMs: section.window }
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}
