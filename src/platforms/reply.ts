import type { JsonReply } from '../job/platform.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const HOUR_MS = 60 * 60 * 1000

/** When the platform answered, on its own clock (`Date`), so that a wrong clock here does not shift what it asks for. */
export function answeredAtMs(reply: JsonReply): number {
  const stated = Date.parse(reply.headers.date ?? '')
  return Number.isFinite(stated) ? stated : Date.now()
}

/** `Retry-After` (RFC 9110: seconds, or an HTTP date) in milliseconds from the answer; undefined when absent or unreadable. */
export function retryAfterMs(reply: JsonReply): number | undefined {
  const text = reply.headers['retry-after']?.trim()
  if (text === undefined || text === '') return undefined
  if (/^\d{1,9}(?:\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000)
  const at = Date.parse(text)
  return Number.isFinite(at) ? Math.max(0, at - answeredAtMs(reply)) : undefined
}

/** Milliseconds from `nowMs` (Unix) to the next midnight in an IANA time zone; daylight saving is allowed for. */
export function untilMidnightMs(zone: string, nowMs: number): number {
  const candidate = nowMs + DAY_MS - sinceMidnightMs(zone, nowMs)
  // On the day of a clock change the guess is off by the change: what stands past (or before) midnight there is taken back.
  const off = sinceMidnightMs(zone, candidate)
  const corrected = off > 12 * HOUR_MS ? candidate + (DAY_MS - off) : candidate - off
  return corrected - nowMs
}

function sinceMidnightMs(zone: string, atMs: number): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(atMs)
  const value = (type: string) => Number(parts.find((part) => part.type === type)?.value ?? 0)
  const ms = ((atMs % 1000) + 1000) % 1000
  return value('hour') * HOUR_MS + value('minute') * 60_000 + value('second') * 1000 + ms
}

/** Optional field for a Throttle: absent, rather than undefined, when the platform did not say. */
export function waiting(ms: number | undefined): { retryAfterMs?: number } {
  return ms === undefined ? {} : { retryAfterMs: ms }
}
