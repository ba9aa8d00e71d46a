import type { z } from 'zod'
import { AttemptError } from '../job/errors.ts'
import type { Reply } from '../job/fetch.ts'
import { describeIssues } from '../job/job.ts'
import type { Advice } from '../job/permit.ts'
import type { JsonReply, Platform } from '../job/platform.ts'

/** What the pipeline needs of the fetch room to read a reply. */
export interface ReplyReader {
  /** Throws AttemptError `bad_response` with what was found. */
  readonly readJson: (body: Buffer) => unknown
  /** The beginning of a body, fit for a message: bounded, without secrets. */
  readonly sampleOf: (body: Buffer) => string
  /** How long the upstream asked to wait, ms; undefined when it did not say. */
  readonly retryAfterMs: (headers: Reply['headers'], nowMs: number) => number | undefined
  /** What the headers of a reply that is no refusal say about limits. */
  readonly adviceOf: (headers: Reply['headers'], nowMs: number) => Advice | undefined
}

export interface ReadReply extends JsonReply {
  /** Why the body is not JSON; undefined when it is. */
  readonly unreadable: unknown
}

export function readReply(reply: Reply, endpoint: string, reader: ReplyReader): ReadReply {
  let json: unknown
  let unreadable: unknown
  try {
    json = reader.readJson(reply.body)
  } catch (error) {
    unreadable = error
  }
  return { endpoint, status: reply.status, headers: plain(reply.headers), json, unreadable }
}

/**
 * Turns a reply into checked data, or throws AttemptError. The platform's own words come first (a 403 may be a spent
 * quota, a 200 an error), then the usual meaning of the status, then the schema.
 */
export function judgeReply(
  reply: Reply,
  judged: ReadReply,
  call: { platform: Platform; response: z.ZodType; reader: ReplyReader; nowMs: number },
): unknown {
  const { platform, reader } = call
  const { endpoint, json, unreadable } = judged
  const throttle = platform.throttled?.(judged)
  if (throttle !== undefined || reply.status === 429) {
    throw new AttemptError(
      throttle?.reason ?? 'rate_limited',
      throttle?.message ?? `${endpoint}: status 429`,
      {
        retryAfterMs: reader.retryAfterMs(reply.headers, call.nowMs) ?? throttle?.retryAfterMs,
        blocks: throttle?.scope ?? 'endpoint',
      },
    )
  }
  const refusal = platform.refused?.(judged)
  if (refusal !== undefined) throw new AttemptError(refusal.reason, refusal.message)

  if (reply.status >= 500) {
    throw new AttemptError('upstream_error', said(reply, endpoint, reader), {
      // 503 with Retry-After is an upstream that knows when it is back.
      retryAfterMs: reader.retryAfterMs(reply.headers, call.nowMs),
    })
  }
  if (reply.status >= 300) {
    throw new AttemptError(reasonOfStatus(reply), said(reply, endpoint, reader))
  }
  const parsed = call.response.safeParse(json)
  // A 204 has no body, and a schema may say that none is needed.
  if (unreadable !== undefined && !(reply.body.length === 0 && parsed.success)) throw unreadable
  if (!parsed.success) {
    throw new AttemptError(
      'bad_response',
      `${endpoint}: ${describeIssues(parsed.error).slice(0, ISSUES_CHARS_MAX)}; found ${reader.sampleOf(reply.body)}`,
    )
  }
  return parsed.data
}

/** Leaves room for the sample: a dead letter's message has 2,000 characters. */
const ISSUES_CHARS_MAX = 600

/** An API does not speak in pages: this one is a gateway's, a proxy's or a firewall's. */
const MARKUP = /^\s*</

function reasonOfStatus({ status, body }: Reply) {
  if (status === 401) return 'unauthorized'
  if (status === 403) return 'forbidden'
  // For a page no creator is declared gone.
  if (status === 404 || status === 410) {
    return MARKUP.test(body.subarray(0, 64).toString('latin1')) ? 'bad_response' : 'not_found'
  }
  // A redirect of an API call would need a permit of its own, and an API that moves is a matter for its adapter.
  if (status < 400) return 'bad_response'
  return status === 408 ? 'timeout' : 'bad_response'
}

/** Characters of a body or an address in the message about a status: the body of a refusal begins with what matters. */
const SAID_CHARS_MAX = 300

/** A status that is a failure by its usual meaning, with what else was said. */
function said(reply: Reply, endpoint: string, reader: ReplyReader): string {
  const status = `${endpoint}: status ${reply.status}`
  const { location } = reply.headers
  if (reply.status < 400 && typeof location === 'string') {
    // Without its query, which may hold a secret.
    const target = location.split(/[?#]/)[0]!.slice(0, SAID_CHARS_MAX)
    return `${status}, a redirect to ${target}, which calls do not follow`
  }
  const sample = reader.sampleOf(reply.body)
  const shown = sample.length > SAID_CHARS_MAX ? `${sample.slice(0, SAID_CHARS_MAX)}…` : sample
  return shown === '' ? status : `${status}; found ${shown}`
}

function plain(headers: Reply['headers']): Record<string, string> {
  const joined: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined) joined[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return joined
}
