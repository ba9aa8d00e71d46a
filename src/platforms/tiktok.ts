/**
 * TikTok Research API v2. Read November 2026, below https://developers.tiktok.com/doc: research-api-specs-query-user-info,
 * research-api-specs-query-videos, research-api-faq, client-access-token-management, tiktok-api-v2-error-handling. A client token
 * lives two hours. Every reply has an `error` object, also with status 200, where its code is `ok`. 1,000 requests a day, of all
 * endpoints together, until 00:00 UTC; 100 videos a request at most. Videos are found by a query over at most 30 days, newest
 * first; a page may hold fewer than asked for and not be the last. No call is shared by jobs: user info takes one username, and
 * although a query may name several (`IN`), its pages and its cursor are those of all of them together, so one who publishes a lot
 * would push the others' videos off the page.
 */
import { z } from 'zod'
import type { CallContext, CallOptions, JsonReply, Refusal, Throttle } from '../job/platform.ts'
import type { Reason } from '../job/reason.ts'
import { definePlatform } from './define.ts'
import { normaliseHandle } from './handle.ts'
import { pageParams, picturesMax } from './params.ts'
import { answeredAtMs, retryAfterMs, untilMidnightMs, waiting } from './reply.ts'
import { mediaHarvest, type Post, type Profile, profileHarvest } from './snapshot.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** `end_date` may lie at most this far after `start_date`. */
const QUERY_DAYS_MAX = 30
const PAGE_VIDEOS_MAX = 100

const USER_FIELDS =
  'display_name,bio_description,avatar_url,is_verified,follower_count,following_count,likes_count,video_count'
const VIDEO_FIELDS = 'id,video_description,create_time,like_count,comment_count,share_count,view_count'

const count = z.int().nonnegative()
const ok = z.looseObject({ code: z.string() })
// An int64 on the wire: a decoder that keeps large integers hands over a string. As a number its last digits are rounded; it
// still names the video uniquely, because ids carry their second in the upper half.
const bigId = z.union([z.string().regex(/^\d+$/), z.number().nonnegative().transform(String)])

const token = z.looseObject({
  access_token: z.string().min(1),
  /** Seconds. */
  expires_in: z.number().positive(),
})

const userInfo = z.looseObject({
  data: z.looseObject({
    display_name: z.string(),
    bio_description: z.string().default(''),
    avatar_url: z.string().optional(),
    is_verified: z.boolean().default(false),
    follower_count: count,
    following_count: count,
    likes_count: count,
    video_count: count,
  }),
  error: ok,
})

const videoQuery = z.looseObject({
  data: z.looseObject({
    videos: z
      .array(
        z.looseObject({
          id: bigId,
          video_description: z.string().default(''),
          /** Unix seconds. */
          create_time: z.int().nonnegative(),
          like_count: count.optional(),
          comment_count: count.optional(),
          share_count: count.optional(),
          view_count: count.optional(),
        }),
      )
      .default([]),
    cursor: z.int().nonnegative().default(0),
    search_id: z.string().default(''),
    has_more: z.boolean(),
  }),
  error: ok,
})

const endpoints = {
  user_info: { path: '/v2/research/user/info/', method: 'POST', response: userInfo },
  video_query: { path: '/v2/research/video/query/', method: 'POST', response: videoQuery },
  token: { path: '/v2/oauth/token/', method: 'POST', response: token, authorised: false },
} as const

type Context = CallContext<typeof endpoints>

const date = z.string().refine((text) => /^\d{8}$/.test(text) && dayMs(text) > 0, 'expected YYYYMMDD')
const days = z.int().min(1).max(QUERY_DAYS_MAX).default(QUERY_DAYS_MAX)

export const tiktok = definePlatform({
  name: 'tiktok',
  origin: 'https://open.tiktokapis.com',
  version: 'TikTok Research API v2',
  credentials: z.object({ client_key: z.string().min(1), client_secret: z.string().min(1) }),
  endpoints,
  creatorId: (id) => normaliseHandle('tiktok', id),
  async authorise({ client_key, client_secret }, { get }) {
    const reply = await get('token', {
      form: { client_key, client_secret, grant_type: 'client_credentials' },
    })
    return {
      headers: { authorization: `Bearer ${reply.access_token}` },
      expiresInMs: reply.expires_in * 1000,
    }
  },
  throttled,
  refused,
  jobs: {
    full_profile_scrape: {
      // Research replies have no still picture of a video: the avatar is the only one, whatever `pictures_max` says.
      params: z.object({ pictures_max: picturesMax.default(3), days }),
      calls: { user_info: 1, video_query: 1 },
      async run(job, context) {
        const profile = await profileOf(job.creatorId, context)
        if (profile.numbers.posts === 0) return profileHarvest(profile)
        const period = periodOf(job.requestedAtMs, undefined, job.params.days)
        const reply = await context.get('video_query', videosCall(job.creatorId, period))
        return profileHarvest(profile, postsOf(reply, job.creatorId), job.params.pictures_max)
      },
    },
    profile: {
      params: z.object({}),
      calls: { user_info: 1 },
      async run(job, context) {
        return profileHarvest(await profileOf(job.creatorId, context))
      },
    },
    media: {
      params: z.object({
        ...pageParams(PAGE_VIDEOS_MAX),
        days: days.describe('Length of the period that ends with end_date.'),
        end_date: date.optional().describe('UTC, YYYYMMDD. Default: the day of requested_at.'),
        cursor: z
          .int()
          .nonnegative()
          .optional()
          .describe('Where an earlier job stopped, with its search_id.'),
        search_id: z.string().optional(),
      }),
      // A page holds 100 videos; few publish more in 30 days.
      calls: { video_query: 1 },
      async run(job, context) {
        const { pages_max, rest, cursor, search_id } = job.params
        const period = periodOf(job.requestedAtMs, job.params.end_date, job.params.days)
        const call = (place?: Place) => videosCall(job.creatorId, period, place)
        let from: Place | undefined =
          cursor === undefined || search_id === undefined ? undefined : { cursor, search_id }
        const pages = context.paginate(
          'video_query',
          call(from),
          (page) => (page.data.has_more ? call(placeAfter(page)) : undefined),
          { pagesMax: pages_max },
        )
        const posts: Post[] = []
        for await (const page of pages) {
          posts.push(...postsOf(page, job.creatorId))
          const next: Place | undefined = page.data.has_more ? placeAfter(page) : undefined
          from = next?.cursor === from?.cursor ? undefined : next
        }
        if (from === undefined) return mediaHarvest(posts, 0)
        const params = { pages_max, rest, days: job.params.days, end_date: period.end_date, ...from }
        return mediaHarvest(posts, 0, { wanted: rest, job: { job_type: 'media', params } })
      },
    },
  },
})

export default tiktok

async function profileOf(username: string, context: Context): Promise<Profile> {
  const { data } = await context.get('user_info', { query: { fields: USER_FIELDS }, json: { username } })
  return {
    name: data.display_name,
    handle: username,
    biography: data.bio_description,
    verified: data.is_verified,
    pictureUrl: data.avatar_url,
    numbers: {
      followers: data.follower_count,
      following: data.following_count,
      posts: data.video_count,
      likes: data.likes_count,
    },
  }
}

/** Where a cached search goes on. */
interface Place {
  readonly cursor: number
  readonly search_id: string
}

/** Days in UTC. Counted from the job's logical time, so that a repetition asks the same. */
function periodOf(requestedAtMs: number, endDate: string | undefined, length: number) {
  const end_date = endDate ?? day(requestedAtMs)
  return { start_date: day(dayMs(end_date) - length * DAY_MS), end_date }
}

function dayMs(date: string): number {
  return Date.parse(`${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}T00:00:00Z`)
}

function day(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10).replaceAll('-', '')
}

function videosCall(username: string, period: Period, place?: Place): CallOptions {
  const query = { and: [{ operation: 'EQ', field_name: 'username', field_values: [username] }] }
  return {
    query: { fields: VIDEO_FIELDS },
    json: { query, max_count: PAGE_VIDEOS_MAX, ...period, ...place },
  }
}

type Period = ReturnType<typeof periodOf>
type VideosReply = z.output<typeof videoQuery>

function placeAfter({ data }: VideosReply): Place {
  return { cursor: data.cursor, search_id: data.search_id }
}

function postsOf({ data }: VideosReply, username: string): Post[] {
  return data.videos.map((video) => ({
    id: video.id,
    kind: 'video',
    title: video.video_description,
    url: `https://www.tiktok.com/@${username}/video/${video.id}`,
    publishedAtMs: video.create_time * 1000,
    pictureUrl: undefined,
    numbers: {
      likes: video.like_count,
      comments: video.comment_count,
      shares: video.share_count,
      views: video.view_count,
    },
  }))
}

const errorBody = z.looseObject({
  error: z.union([
    z.looseObject({ code: z.string(), message: z.string().default('') }),
    // The token endpoint answers in OAuth's shape.
    z.string().transform((code) => ({ code, message: '' })),
  ]),
  error_description: z.string().optional(),
})

function errorOf(reply: JsonReply): { code: string; message: string } | undefined {
  const parsed = errorBody.safeParse(reply.json)
  if (!parsed.success) return undefined
  const { code, message } = parsed.data.error
  return code === 'ok' ? undefined : { code, message: parsed.data.error_description ?? message }
}

function throttled(reply: JsonReply): Throttle | undefined {
  const error = errorOf(reply)
  if (error?.code === 'daily_quota_limit_exceeded') {
    return {
      reason: 'quota_exhausted',
      message: `TikTok: the daily quota is spent (${error.message})`,
      retryAfterMs: retryAfterMs(reply) ?? untilMidnightMs('UTC', answeredAtMs(reply)),
      scope: 'credential',
    }
  }
  if (error?.code !== 'rate_limit_exceeded' && reply.status !== 429) return undefined
  return {
    reason: 'rate_limited',
    message: `TikTok: slow down (${error?.message ?? `status ${reply.status}`})`,
    ...waiting(retryAfterMs(reply)),
    scope: 'endpoint',
  }
}

function refused(reply: JsonReply): Refusal | undefined {
  const error = errorOf(reply)
  if (error === undefined) return undefined
  const message = `TikTok: ${error.message || error.code} (${error.code})`
  switch (error.code) {
    case 'access_token_invalid':
    case 'invalid_client':
      return { reason: 'unauthorized', message }
    case 'invalid_request':
      return { reason: reply.endpoint === 'token' ? 'unauthorized' : 'bad_response', message }
    case 'scope_not_authorized':
    case 'scope_permission_missed':
      return { reason: 'forbidden', message }
    case 'not_found':
      return { reason: 'not_found', message }
    case 'invalid_params':
      return { reason: meaningOf(reply.endpoint, error.message), message }
    case 'internal_error':
      return { reason: 'upstream_error', message }
    default:
      return reply.status === 404 ? { reason: 'not_found', message } : undefined
  }
}

/**
 * `invalid_params` is the code for an unknown username, for a private one and for a wrong field: only the text tells them apart.
 * What the text does not explain is our mistake, and must not mark creators as gone. A cached search is refused with it while
 * TikTok does not have it yet, or no more.
 */
function meaningOf(endpoint: string, text: string): Reason {
  if (endpoint === 'video_query') {
    return /search.?id|count or cursor/i.test(text) ? 'upstream_error' : 'bad_response'
  }
  if (endpoint !== 'user_info') return 'bad_response'
  if (/private|cannot return this user/i.test(text)) return 'private'
  return /(user|account).*(not|n't|invalid|exist)|cannot find/i.test(text) ? 'not_found' : 'bad_response'
}
