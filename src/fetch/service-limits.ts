import { type ListMember, parseList } from './field-list.ts'
import { firstOf, type Headers, upstreamNowMs } from './http-date.ts'

/** How much an upstream allows in a period, as it states it. */
export interface QuotaPolicy {
  readonly name: string
  /** Units in any period of `windowMs`. Undefined where it is not said, or not with a whole positive number. */
  readonly quota: number | undefined
  readonly windowMs: number | undefined
  /** What is counted: `requests`, unless it says otherwise. */
  readonly unit: string
}

/** What is left of a policy. */
export interface ServiceLimit {
  /** Undefined where it is not said. */
  readonly remaining: number | undefined
  /** Until there is more, ms from now; may be negative. Undefined where it is not said. */
  readonly renewedInMs: number | undefined
  /** The policy's window, and thus how long it can be at most until there is more. Undefined where it is not said. */
  readonly windowMs: number | undefined
  /** False for a limit on something else than requests, such as `content-bytes` and `concurrent-requests`. */
  readonly countsRequests: boolean
}

const REQUESTS = 'requests'

/** From here on a number can only be a Unix time: in seconds since September 2001, in milliseconds since the same. */
const UNIX_SECONDS_MIN = 1e9
const UNIX_MS_MIN = 1e12

/**
 * `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11 (May 2026), `"burst";q=100;w=60, "day";q=1000;w=86400`, and as
 * drafts 4 to 7 had it, `100;w=60`. Where there is none, `RateLimit-Limit` with windows, as drafts 0 to 3 had it: `100, 100;w=60`.
 */
export function policiesOf(headers: Headers): readonly QuotaPolicy[] {
  return parseList(headers['ratelimit-policy'] ?? headers['ratelimit-limit']).map(({ value, parameters }) => {
    const seconds = amount(parameters.get('w'))
    return {
      name: value,
      quota: amount(parameters.get('q') ?? value),
      windowMs: seconds === undefined ? undefined : seconds * 1000,
      unit: parameters.get('qu')?.toLowerCase() ?? REQUESTS,
    }
  })
}

/**
 * `RateLimit` of the same draft, `"burst";r=50;t=30`, with the policy of that name; and as draft 7 had it, `limit=100, remaining=50,
 * reset=30`. Where there is none, `RateLimit-Remaining` and `RateLimit-Reset` of drafts 0 to 6.
 */
export function serviceLimitsOf(headers: Headers, nowMs: number): readonly ServiceLimit[] {
  const members = parseList(headers.ratelimit)
  if (members.length === 0) {
    return [limitOf(headers['ratelimit-remaining'], headers['ratelimit-reset'], headers, nowMs)]
  }
  const entries = new Map(members.flatMap(({ value, parameters }) => (value === '' ? [...parameters] : [])))
  if (entries.has('remaining') || entries.has('reset'))
    return [limitOf(entries.get('remaining'), entries.get('reset'), headers, nowMs)]
  const policies = policiesOf(headers)
  return members.map((member) => limitOfMember(member, policies))
}

/** `X-RateLimit-Remaining` and `X-RateLimit-Reset`, in both spellings. They tell no window. */
export function commonLimitOf(headers: Headers, nowMs: number): ServiceLimit {
  return limitOf(
    headers['x-ratelimit-remaining'] ?? headers['x-rate-limit-remaining'],
    headers['x-ratelimit-reset'] ?? headers['x-rate-limit-reset'],
    headers,
    nowMs,
  )
}

/** Less than one call is none. Where it is not said, false. */
export function isExhausted({ remaining }: ServiceLimit): boolean {
  return remaining !== undefined && remaining < 1
}

/** The longest of the waits that `waitMs` reads from the limits; undefined where it reads none. */
export function longestWaitMs(
  limits: readonly ServiceLimit[],
  waitMs: (limit: ServiceLimit) => number | undefined,
): number | undefined {
  const waits = limits.map(waitMs).filter((wait) => wait !== undefined)
  return waits.length === 0 ? undefined : Math.max(...waits)
}

function limitOfMember({ value, parameters }: ListMember, policies: readonly QuotaPolicy[]): ServiceLimit {
  const own = policies.filter(({ name }) => name === value)
  const seconds = numeric(parameters.get('t'))
  const windows = own.flatMap(({ windowMs }) => windowMs ?? [])
  return {
    remaining: numeric(parameters.get('r')),
    renewedInMs: seconds === undefined ? undefined : seconds * 1000,
    windowMs: windows.length === 0 ? undefined : Math.max(...windows),
    countsRequests: own.length === 0 || own.some(({ unit }) => unit === REQUESTS),
  }
}

/** A reset is in use as delta seconds, Unix seconds and Unix milliseconds alike: told apart by size. */
function limitOf(
  remaining: string | string[] | undefined,
  reset: string | string[] | undefined,
  headers: Headers,
  nowMs: number,
): ServiceLimit {
  const until = numeric(firstOf(reset))
  let renewedInMs: number | undefined
  if (until !== undefined) {
    if (until >= UNIX_MS_MIN) renewedInMs = until - upstreamNowMs(headers, nowMs)
    else if (until >= UNIX_SECONDS_MIN) renewedInMs = until * 1000 - upstreamNowMs(headers, nowMs)
    else renewedInMs = until * 1000
  }
  // Some add the window: `76;w=21600`.
  const left = numeric(firstOf(remaining)?.split(';', 1)[0]?.trim())
  return { remaining: left, renewedInMs, windowMs: undefined, countsRequests: true }
}

/** No upstream counts further than this; neither do structured fields (RFC 9651, 3.3.1: 15 digits). */
function numeric(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : undefined
}

/** A whole number, 1 or more. */
function amount(text: string | undefined): number | undefined {
  const value = numeric(text)
  return value !== undefined && Number.isInteger(value) && value >= 1 ? value : undefined
}
