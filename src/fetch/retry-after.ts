import { firstOf, type Headers, parseHttpDate, upstreamNowMs } from './http-date.ts'
import {
  commonLimitOf,
  isExhausted,
  longestWaitMs,
  type ServiceLimit,
  serviceLimitsOf,
} from './service-limits.ts'

/** A day and a bit: the longest reset that the platforms know is that of a daily quota. */
export const WAIT_MS_MAX = 26 * 60 * 60 * 1000

/**
 * How long an upstream that refused asks us to wait, in ms from now, 0 to `maxMs`; undefined when it does not say. `nowMs` is Unix
 * ms. Header names in lower case. In this order:
 *
 * 1. `Retry-After` (RFC 9110): delta seconds or an HTTP date. It wins.
 * 2. `RateLimit` with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11): the longest `t` of the policies of which
 *    nothing remains, or that policy's window `w`; and the older spellings `limit=, remaining=, reset=` and `RateLimit-Reset`.
 * 3. `X-RateLimit-Reset`, in use as delta seconds, Unix seconds and Unix milliseconds alike: told apart by size.
 *
 * 2 and 3 count only where nothing remains or what remains is not said: a reset is no wish to wait while calls are left.
 */
export function retryAfterMs(headers: Headers, nowMs: number, maxMs = WAIT_MS_MAX): number | undefined {
  const asked =
    retryAfterFieldMs(headers, nowMs) ??
    longestWaitMs(serviceLimitsOf(headers, nowMs), waitMs) ??
    waitMs(commonLimitOf(headers, nowMs))
  return asked === undefined ? undefined : boundedWaitMs(asked, maxMs)
}

/** What `Retry-After` says (RFC 9110, 10.2.3), ms from now, unbounded; undefined when absent or unreadable. */
export function retryAfterFieldMs(headers: Headers, nowMs: number): number | undefined {
  const text = firstOf(headers['retry-after'])
  if (text === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  const atMs = parseHttpDate(text)
  return atMs === undefined ? undefined : atMs - upstreamNowMs(headers, nowMs)
}

/** Whole ms, 0 to `maxMs`. */
export function boundedWaitMs(asked: number, maxMs = WAIT_MS_MAX): number {
  return Math.min(Math.max(0, Math.round(asked)), maxMs)
}

/** After a refusal, what is not said to be left is spent. */
function waitMs(limit: ServiceLimit): number | undefined {
  if (limit.remaining !== undefined && !isExhausted(limit)) return undefined
  return limit.renewedInMs ?? limit.windowMs
}
