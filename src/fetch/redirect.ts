import { AttemptError } from '../job/errors.ts'
import type { Reply } from '../job/fetch.ts'

const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** Where a reply sends us, or undefined when it is no redirect (or one without a `Location`: then it is a plain reply). */
export function redirectTarget(reply: Reply, from: URL): URL | undefined {
  if (!REDIRECTS.has(reply.status)) return undefined
  const { location } = reply.headers
  const text = Array.isArray(location) ? location[0] : location
  if (text === undefined || text === '') return undefined
  const target = URL.parse(text, from.href)
  if (target === null) {
    throw new AttemptError('bad_response', `GET ${from.origin}${from.pathname}: redirected to what is no URL`)
  }
  return target
}

/** What a header's value may be on the wire; what we remembered of an earlier reply might not be it. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]{1,2000}$/

/** Headers that let the upstream answer 304, name and value in turn. Values that cannot be sent are left out. */
export function conditionalHeaders(
  validators: { etag?: string; lastModified?: string } | undefined,
): string[] {
  const headers: string[] = []
  const { etag, lastModified } = validators ?? {}
  if (etag !== undefined && HEADER_VALUE.test(etag)) headers.push('if-none-match', etag)
  if (lastModified !== undefined && HEADER_VALUE.test(lastModified)) {
    headers.push('if-modified-since', lastModified)
  }
  return headers
}
