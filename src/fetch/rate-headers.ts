import type { Advice } from '../job/permit.ts'
import type { Headers } from './http-date.ts'
import { boundedWaitMs, retryAfterFieldMs } from './retry-after.ts'
import {
  commonLimitOf,
  isExhausted,
  longestWaitMs,
  policiesOf,
  type ServiceLimit,
  serviceLimitsOf,
} from './service-limits.ts'

/** A policy over a longer time is a quota: to be spent as one likes, and said to be spent when it is. It sets no pace. */
const PACE_WINDOW_MS_MAX = 60 * 60 * 1000

/**
 * What the headers of a reply that is no refusal say about the upstream's limits; undefined when nothing. `nowMs` is Unix ms.
 * Header names in lower case. After draft-ietf-httpapi-ratelimit-headers-11 (May 2026), its older spellings, `X-RateLimit-*` in
 * both spellings, and RFC 9110; see service-limits and retry-after for what is read.
 *
 * `blockMs`, more than 0 and at most `WAIT_MS_MAX`: what `Retry-After` asks for. Else `spentMs`, bounded alike: of the limits that are
 * said to have nothing left, the longest time until there is more. Where either is not said there is none, unlike after a refusal
 * (see retry-after): one call that is refused costs less than a day of waiting for nothing.
 *
 * `policy`: of several, the one with the lowest sustained rate q/w among those over an hour or less, because whoever keeps that
 * pace keeps the others in the long run; of equal ones the one over the longest window, which says the most. Only where all are
 * over more than an hour, the slowest of those.
 *
 * Limits on anything but requests (`content-bytes`, `concurrent-requests`) are not ours to keep and are passed over.
 */
export function adviceOf(headers: Headers, nowMs: number): Advice | undefined {
  const blockMs = boundedWaitMs(retryAfterFieldMs(headers, nowMs) ?? 0)
  const spentMs = boundedWaitMs(
    longestWaitMs(serviceLimitsOf(headers, nowMs), waitMs) ?? waitMs(commonLimitOf(headers, nowMs)) ?? 0,
  )
  const policy = slowest(headers)
  if (blockMs === 0 && spentMs === 0 && policy === undefined) return undefined
  return {
    ...(blockMs === 0 ? {} : { blockMs }),
    ...(spentMs === 0 || blockMs > 0 ? {} : { spentMs }),
    ...(policy === undefined ? {} : { policy }),
  }
}

function waitMs(limit: ServiceLimit): number | undefined {
  return limit.countsRequests && isExhausted(limit) ? limit.renewedInMs : undefined
}

function slowest(headers: Headers): Advice['policy'] {
  let found: Advice['policy']
  for (const { quota, windowMs, unit } of policiesOf(headers)) {
    if (unit !== 'requests' || quota === undefined || windowMs === undefined) continue
    const policy = { limit: quota, windowMs }
    if (found === undefined || compare(policy, found) < 0) found = policy
  }
  return found
}

type Policy = NonNullable<Advice['policy']>

/** Below 0 when `a` is the one to keep. */
function compare(a: Policy, b: Policy): number {
  const isQuota = ({ windowMs }: Policy) => Number(windowMs > PACE_WINDOW_MS_MAX)
  return isQuota(a) - isQuota(b) || a.limit / a.windowMs - b.limit / b.windowMs || b.windowMs - a.windowMs
}
