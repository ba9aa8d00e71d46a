import { hash32 } from './hash.ts'
import {
  bearer,
  describeCreator,
  json,
  type PlayedReply,
  type PlayedRequest,
  type Player,
  pictureUrl,
  retryAfter,
  type World,
} from './play.ts'

const DAY_MS = 24 * 60 * 60 * 1000

const ENDPOINTS: Readonly<Record<string, string>> = {
  '/v2/research/user/info/': 'user_info',
  '/v2/research/video/query/': 'video_query',
  '/v2/oauth/token/': 'token',
}

/** Plays the TikTok Research API: client tokens, user info, video query. */
export function playTiktok(world: World): Player {
  const { population, growth, accounts, tokenLifeS } = world

  function token(request: PlayedRequest): PlayedReply {
    const form = new URLSearchParams(request.body)
    const oauthError = (code: string, text: string) =>
      json(400, { error: code, error_description: text, log_id: logId(request.nowMs) })
    if (form.get('grant_type') !== 'client_credentials') {
      return oauthError('unsupported_grant_type', 'The grant type is not supported.')
    }
    if (form.get('client_secret') === null)
      return oauthError('invalid_request', 'Client secret is missed in request.')
    const account = accounts.ofTiktokClient(form.get('client_key'), form.get('client_secret'))
    if (account === undefined) return oauthError('invalid_client', 'Client key or secret is incorrect.')
    return json(200, {
      access_token: issue(account, request.nowMs),
      expires_in: tokenLifeS,
      token_type: 'Bearer',
    })
  }

  /** A token says whom it was given to and when, with a check, so none has to be remembered. */
  function issue(account: number, nowMs: number): string {
    const seconds = Math.floor(nowMs / 1000)
    return `clt.${account}.${seconds.toString(36)}.${hash32(world.seed, account, seconds).toString(36)}`
  }

  /** The account that a token was given to; undefined for one that is none, or has ended. */
  function holderOf(text: string | undefined, nowMs: number): number | undefined {
    const match = /^clt\.(\d{1,3})\.([0-9a-z]{1,9})\.([0-9a-z]{1,7})$/.exec(text ?? '')
    if (match === null) return undefined
    const account = Number(match[1])
    const seconds = Number.parseInt(match[2]!, 36)
    const age = nowMs / 1000 - seconds
    const isOurs = hash32(world.seed, account, seconds).toString(36) === match[3]
    return isOurs && age >= -1 && age < tokenLifeS ? account : undefined
  }

  function userInfo(request: PlayedRequest): PlayedReply {
    const username = readUsername(parse(request.body))
    if (username === undefined) return error(400, 'invalid_params', 'username is required', request.nowMs)
    const found = population.find('tiktok', username)
    if (found === undefined)
      return error(400, 'invalid_params', 'The username cannot be found', request.nowMs)
    if (found.fate === 'private') return error(400, 'invalid_params', 'The account is private', request.nowMs)
    const state = growth.creator('tiktok', found.index, request.nowMs)
    const { name, biography, verified } = describeCreator(username, hash32(world.seed, found.index))
    const known: Readonly<Record<string, unknown>> = {
      display_name: name,
      bio_description: biography,
      avatar_url: pictureUrl(request.base, 'tiktok', username, 'avatar'),
      is_verified: verified,
      follower_count: state.followers,
      following_count: state.following,
      likes_count: state.likes,
      video_count: state.posts,
    }
    const data = pick(known, request)
    return data === undefined
      ? error(400, 'invalid_params', 'Fields is invalid', request.nowMs)
      : json(200, { data, error: fine(request.nowMs) })
  }

  function videoQuery(request: PlayedRequest): PlayedReply {
    const question = readQuestion(parse(request.body))
    if (typeof question === 'string') return error(400, 'invalid_params', question, request.nowMs)
    const { username, startMs, endMs, size, cursor, searchId } = question
    const index = population.find('tiktok', username)
    const expected = String(
      7_000_000_000_000_000 + hash32(world.seed, startMs / DAY_MS, endMs / DAY_MS, index?.index ?? -1),
    )
    if (cursor > 0 && searchId !== expected) {
      return error(400, 'invalid_params', 'Search Id is invalid or expired', request.nowMs)
    }
    const videos = []
    let more = false
    if (index?.fate === 'public') {
      let at = 0
      // Newest first, down to the start of the period.
      for (let n = growth.creator('tiktok', index.index, request.nowMs).posts - 1; n >= 0; n -= 1) {
        const state = growth.post('tiktok', index.index, n, request.nowMs)
        if (state === undefined || state.publishedAtMs < startMs) break
        if (state.publishedAtMs >= endMs + DAY_MS) continue
        at += 1
        if (at <= cursor) continue
        if (videos.length === size) {
          more = true
          break
        }
        const seconds = Math.floor(state.publishedAtMs / 1000)
        // As the real ones: the second in the upper half.
        const id = (BigInt(seconds) << 32n) | BigInt(hash32(world.seed, index.index, n))
        videos.push({
          id: String(id),
          video_description: `Clip ${n + 1}`,
          create_time: seconds,
          like_count: state.likes,
          comment_count: state.comments,
          share_count: state.shares,
          view_count: state.views,
        })
      }
    }
    const reply = json(200, {
      data: { videos, cursor: cursor + videos.length, search_id: expected, has_more: more },
      error: fine(request.nowMs),
    })
    // An int64 on the wire, larger than a double holds: that is how the real one sends it.
    return { ...reply, body: reply.body.replaceAll(/"id":"(\d+)"/g, '"id":$1') }
  }

  return {
    endpointOf: (path) => ENDPOINTS[path],
    accountOf: ({ headers, nowMs }) => holderOf(bearer(headers), nowMs),
    answer(endpoint, request) {
      if (endpoint === undefined) return error(404, 'not_found', 'Unknown path', request.nowMs)
      if (request.method !== 'POST') return error(405, 'invalid_params', 'Method not allowed', request.nowMs)
      if (endpoint === 'token') return token(request)
      if (holderOf(bearer(request.headers), request.nowMs) === undefined) {
        return error(
          401,
          'access_token_invalid',
          'The access token is invalid or not found in the request.',
          request.nowMs,
        )
      }
      return endpoint === 'user_info' ? userInfo(request) : videoQuery(request)
    },
    throttle: (waitMs) => ({
      ...error(429, 'rate_limit_exceeded', 'The API rate limit was exceeded. Please try again later.', 0),
      headers: retryAfter(waitMs),
    }),
    quotaSpent: () => error(429, 'daily_quota_limit_exceeded', 'The daily quota limit is exceeded.', 0),
    failure: () => error(500, 'internal_error', 'Something went wrong. Please try again later.', 0),
    errorBody: () => error(500, 'internal_error', 'Something went wrong. Please try again later.', 0).body,
  }
}

function pick(
  known: Readonly<Record<string, unknown>>,
  request: PlayedRequest,
): Record<string, unknown> | undefined {
  const data: Record<string, unknown> = {}
  for (const field of (request.query.get('fields') ?? '').split(',')) {
    if (!(field in known)) return undefined
    data[field] = known[field]
  }
  return data
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function readUsername(body: unknown): string | undefined {
  return isObject(body) && typeof body.username === 'string' ? body.username : undefined
}

/** What a video query asks, or what is wrong with it. */
function readQuestion(body: unknown) {
  if (!isObject(body)) return 'The body is not JSON'
  const and: unknown = isObject(body.query) ? body.query.and : undefined
  const condition: unknown = Array.isArray(and) ? and[0] : undefined
  const values: unknown =
    isObject(condition) && condition.field_name === 'username' ? condition.field_values : undefined
  const username: unknown = Array.isArray(values) ? values[0] : undefined
  if (typeof username !== 'string') return 'The query is invalid'
  const startMs = dayMs(body.start_date)
  const endMs = dayMs(body.end_date)
  if (Number.isNaN(startMs) || Number.isNaN(endMs) || endMs < startMs) return 'The date is invalid'
  if (endMs - startMs > 30 * DAY_MS) return 'The end_date must be no more than 30 days after the start_date'
  const size = Math.min(100, typeof body.max_count === 'number' ? body.max_count : 20)
  const cursor = typeof body.cursor === 'number' ? body.cursor : 0
  return { username, startMs, endMs, size, cursor, searchId: body.search_id }
}

function dayMs(text: unknown): number {
  const match = typeof text === 'string' ? /^(\d{4})(\d{2})(\d{2})$/.exec(text) : null
  return match === null ? Number.NaN : Date.parse(`${match[1]}-${match[2]}-${match[3]}T00:00:00Z`)
}

function fine(nowMs: number) {
  return { code: 'ok', message: '', log_id: logId(nowMs) }
}

function error(status: number, code: string, message: string, nowMs: number): PlayedReply {
  return json(status, { data: {}, error: { code, message, log_id: logId(nowMs) } })
}

function logId(nowMs: number): string {
  return `${nowMs.toString(36).toUpperCase()}SIMULATED`
}
