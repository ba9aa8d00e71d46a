type Headers = Readonly<Record<string, string | string[] | undefined>>

/** A day and a bit: the longest reset that the platforms know is that of a daily quota. */
const WAIT_MS_MAX = 26 * 60 * 60 * 1000

/** From here on a number can only be a Unix time: in seconds since September 2001, in milliseconds since the same. */
const UNIX_SECONDS_MIN = 1e9
const UNIX_MS_MIN = 1e12

/**
 * How long an upstream asks us to wait, in ms from now, 0 to `maxMs`; undefined when it does not say. `nowMs` is Unix ms.
 * Header names in lower case. In this order:
 *
 * 1. `Retry-After` (RFC 9110): delta seconds or an HTTP date. It wins.
 * 2. `RateLimit` with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): the longest `t` of the policies of which
 *    nothing remains, or that policy's window `w`; and the older spellings `limit=, remaining=, reset=` and `RateLimit-Reset`.
 * 3. `X-RateLimit-Reset`, in use as delta seconds, Unix seconds and Unix milliseconds alike: told apart by size.
 *
 * 2 and 3 count only where nothing remains or what remains is not said: a reset is no wish to wait while calls are left.
 */
export function retryAfterMs(headers: Headers, nowMs: number, maxMs = WAIT_MS_MAX): number | undefined {
  const asked = fromRetryAfter(headers, nowMs) ?? fromRateLimit(headers) ?? fromXRateLimit(headers, nowMs)
  return asked === undefined ? undefined : Math.min(Math.max(0, Math.round(asked)), maxMs)
}

function fromRetryAfter(headers: Headers, nowMs: number): number | undefined {
  const text = first(headers['retry-after'])
  if (text === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  const atMs = parseHttpDate(text)
  return atMs === undefined ? undefined : atMs - upstreamNowMs(headers, nowMs)
}

function fromRateLimit(headers: Headers): number | undefined {
  const field = joined(headers.ratelimit)
  if (field !== undefined && /(^|[,\s])reset\s*=/i.test(field)) {
    const reset = parameter(field, 'reset')
    return spent(parameter(field, 'remaining')) && reset !== undefined ? reset * 1000 : undefined
  }
  if (field !== undefined) {
    const windows = windowsOf(joined(headers['ratelimit-policy']))
    let longest: number | undefined
    for (const { name, text } of items(field)) {
      if (!spent(parameter(text, 'r'))) continue
      const seconds = parameter(text, 't') ?? windows.get(name)
      if (seconds !== undefined) longest = Math.max(longest ?? 0, seconds * 1000)
    }
    return longest
  }
  const reset = first(headers['ratelimit-reset'])
  if (reset === undefined || !/^\d+$/.test(reset) || !spent(numeric(headers['ratelimit-remaining'])))
    return undefined
  return Number(reset) * 1000
}

function fromXRateLimit(headers: Headers, nowMs: number): number | undefined {
  const reset = numeric(headers['x-ratelimit-reset'] ?? headers['x-rate-limit-reset'])
  const remaining = numeric(headers['x-ratelimit-remaining'] ?? headers['x-rate-limit-remaining'])
  if (reset === undefined || !spent(remaining)) return undefined
  if (reset >= UNIX_MS_MIN) return reset - upstreamNowMs(headers, nowMs)
  if (reset >= UNIX_SECONDS_MIN) return reset * 1000 - upstreamNowMs(headers, nowMs)
  return reset * 1000
}

/** The upstream's own clock where it tells it, so that a difference between the clocks does not lengthen a wait. */
function upstreamNowMs(headers: Headers, nowMs: number): number {
  const date = first(headers.date)
  return (date === undefined ? undefined : parseHttpDate(date)) ?? nowMs
}

const IMF = /^[A-Za-z]{3}, (\d{2}) ([A-Za-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const RFC850 = /^[A-Za-z]+, (\d{2})-([A-Za-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const ASCTIME = /^[A-Za-z]{3} ([A-Za-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** Unix ms of an HTTP date in any of the three forms of RFC 9110, 5.6.7; undefined for anything else. */
export function parseHttpDate(text: string): number | undefined {
  let match = IMF.exec(text)
  if (match !== null) return utc(match[3], match[2], match[1], match.slice(4))
  match = RFC850.exec(text)
  // Two digits: the century that is nearest; the form was obsolete long before 2000.
  if (match !== null)
    return utc(`${Number(match[3]) < 70 ? '20' : '19'}${match[3]}`, match[2], match[1], match.slice(4))
  match = ASCTIME.exec(text)
  if (match !== null) return utc(match[6], match[1], match[2], match.slice(3, 6))
  return undefined
}

function utc(
  year: string | undefined,
  month: string | undefined,
  day: string | undefined,
  time: string[],
): number | undefined {
  const index = MONTHS.indexOf((month ?? '').toLowerCase())
  if (index < 0) return undefined
  const [hours, minutes, seconds] = time.map(Number)
  return Date.UTC(Number(year), index, Number(day), hours, minutes, seconds)
}

/** The members of a structured-field list, with the name each begins with: `"burst";r=0;t=5`. */
function items(list: string): { name: string; text: string }[] {
  return list.split(',', 16).map((part) => {
    const text = part.trim()
    return { name: text.split(';', 1)[0]!.trim().replaceAll('"', ''), text }
  })
}

function windowsOf(policy: string | undefined): Map<string, number> {
  const windows = new Map<string, number>()
  if (policy === undefined) return windows
  for (const { name, text } of items(policy)) {
    const seconds = parameter(text, 'w')
    if (seconds !== undefined) windows.set(name, seconds)
  }
  return windows
}

function parameter(text: string, name: string): number | undefined {
  const match = new RegExp(`(?:^|[;,\\s])${name}\\s*=\\s*"?(\\d{1,16})`, 'i').exec(text)
  return match === null ? undefined : Number(match[1])
}

function numeric(value: string | string[] | undefined): number | undefined {
  const text = first(value)
  return text !== undefined && /^\d{1,16}(\.\d+)?$/.test(text) ? Number(text) : undefined
}

function spent(remaining: number | undefined): boolean {
  return remaining === undefined || remaining <= 0
}

function first(value: string | string[] | undefined): string | undefined {
  return (Array.isArray(value) ? value[0] : value)?.trim()
}

function joined(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}
