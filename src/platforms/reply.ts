import { DateTime } from 'luxon'
import type { JsonReply } from '../job/platform.ts'

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

/**
 * The query of the page that `Link` (RFC 8288) names by its relation, as GitHub and others page: what to call with next.
 * Undefined when there is none, or what it names is no URL.
 */
export function linkQuery(
  headers: JsonReply['headers'],
  relation = 'next',
): Record<string, string> | undefined {
  for (const [, target = '', parameters = ''] of (headers.link ?? '').matchAll(LINK)) {
    const relations = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,]+))/i.exec(parameters)
    if (!(relations?.[1] ?? relations?.[2] ?? '').toLowerCase().split(/\s+/).includes(relation)) continue
    // Relative to anything: only the query is read.
    const url = URL.parse(target, 'https://link.invalid')
    return url === null ? undefined : Object.fromEntries(url.searchParams)
  }
  return undefined
}

/** An address, and its parameters up to the next one; commas may stand inside of quotes. */
const LINK = /<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:"[^"]*"|[^\s;,"]*))?)*)/g

/** Milliseconds from `nowMs` (Unix) to the next midnight in an IANA time zone. */
export function untilMidnightMs(zone: string, nowMs: number): number {
  return DateTime.fromMillis(nowMs, { zone }).plus({ days: 1 }).startOf('day').toMillis() - nowMs
}

/** Optional field for a Throttle: absent, rather than undefined, when the platform did not say. */
export function waiting(ms: number | undefined): { retryAfterMs?: number } {
  return ms === undefined ? {} : { retryAfterMs: ms }
}
