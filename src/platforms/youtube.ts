/**
 * YouTube Data API v3. Read November 2026, below https://developers.google.com/youtube/v3: docs/channels/list,
 * docs/playlistItems/list, docs/videos/list, docs/errors, determine_quota_cost; and Google's global domain errors.
 * channels.list, playlistItems.list and videos.list cost 1 unit each, channels.list and videos.list for up to 50 ids at once; a
 * project has 10,000 units a day by default, reset at midnight Pacific. Counts are strings. Subscribers are rounded to three digits
 * by the platform.
 */
import { z } from 'zod'
import { AttemptError } from '../job/errors.ts'
import type { CallContext, JsonReply, Refusal, Throttle } from '../job/platform.ts'
import { definePlatform } from './define.ts'
import { isChannelId, normaliseHandle } from './handle.ts'
import { PAGES_DEFAULT, pageParams, picturesMax } from './params.ts'
import { answeredAtMs, retryAfterMs, untilMidnightMs, waiting } from './reply.ts'
import { mediaHarvest, type Post, type Profile, profileHarvest } from './snapshot.ts'

/** What one call may ask for at most, of playlist items and of video ids. */
const PAGE_ITEMS_MAX = 50

const count = z.string().regex(/^\d+$/, 'expected digits').transform(Number).pipe(z.int())
/** By size: default, medium, high, standard, maxres; not every size is there. */
const thumbnails = z.record(z.string(), z.looseObject({ url: z.string() }))

const channelList = z.looseObject({
  // The API leaves `items` out when nothing matches.
  items: z
    .array(
      z.looseObject({
        id: z.string(),
        snippet: z.looseObject({
          title: z.string(),
          description: z.string(),
          customUrl: z.string().optional(),
          thumbnails: thumbnails.optional(),
        }),
        statistics: z.looseObject({
          viewCount: count.optional(),
          subscriberCount: count.optional(),
          hiddenSubscriberCount: z.boolean(),
          videoCount: count.optional(),
        }),
        contentDetails: z.looseObject({
          relatedPlaylists: z.looseObject({ uploads: z.string().optional() }),
        }),
      }),
    )
    .default([]),
})

const playlistItemList = z.looseObject({
  nextPageToken: z.string().optional(),
  items: z.array(z.looseObject({ contentDetails: z.looseObject({ videoId: z.string() }) })).default([]),
})

const videoList = z.looseObject({
  items: z
    .array(
      z.looseObject({
        id: z.string(),
        snippet: z.looseObject({
          title: z.string(),
          publishedAt: z.iso.datetime({ offset: true }),
          thumbnails: thumbnails.optional(),
        }),
        // Owners can hide likes and close comments: then the field is missing.
        statistics: z.looseObject({
          viewCount: count.optional(),
          likeCount: count.optional(),
          commentCount: count.optional(),
        }),
      }),
    )
    .default([]),
})

const batch = { query: 'id', max: PAGE_ITEMS_MAX, items: 'items', id: 'id' } as const

const endpoints = {
  channel: { path: '/youtube/v3/channels', cost: 1, response: channelList, batch },
  playlist_items: { path: '/youtube/v3/playlistItems', cost: 1, response: playlistItemList },
  videos: { path: '/youtube/v3/videos', cost: 1, response: videoList, batch },
} as const

type Context = CallContext<typeof endpoints>

export const youtube = definePlatform({
  name: 'youtube',
  origin: 'https://www.googleapis.com',
  version: 'YouTube Data API v3',
  credentials: z.object({ key: z.string().min(1) }),
  endpoints,
  creatorId: (id) => (isChannelId(id.trim()) ? id.trim() : `@${normaliseHandle('youtube', id)}`),
  // The header says the same as `?key=` and stays out of addresses, which end up in logs and errors.
  authorise: ({ key }) => ({ headers: { 'x-goog-api-key': key } }),
  throttled,
  refused,
  jobs: {
    full_profile_scrape: {
      params: z.object({ pictures_max: picturesMax.default(3) }),
      calls: { channel: 1, playlist_items: 1, videos: 1 },
      async run(job, context) {
        const { profile, uploads } = await channelOf(job.creatorId, context)
        if (uploads === undefined || profile.numbers.posts === 0) return profileHarvest(profile)
        const { posts } = await uploadsPage(uploads, undefined, context)
        return profileHarvest(profile, posts, job.params.pictures_max)
      },
    },
    profile: {
      params: z.object({}),
      calls: { channel: 1 },
      async run(job, context) {
        const { profile } = await channelOf(job.creatorId, context)
        return profileHarvest(profile)
      },
    },
    media: {
      params: z.object({ ...pageParams(PAGE_ITEMS_MAX), pictures_max: picturesMax.default(0) }),
      calls: { channel: 1, playlist_items: PAGES_DEFAULT, videos: PAGES_DEFAULT },
      async run(job, context) {
        const { uploads } = await channelOf(job.creatorId, context)
        if (uploads === undefined) return mediaHarvest([], 0)
        return readUploads({ ...job.params, playlist_id: uploads }, context)
      },
    },
    /** The rest of a `media` job: it knows the playlist already. */
    media_pages: {
      params: z.object({
        playlist_id: z.string().min(1),
        cursor: z.string().optional(),
        ...pageParams(PAGE_ITEMS_MAX),
        pictures_max: picturesMax.default(0),
      }),
      calls: { playlist_items: PAGES_DEFAULT, videos: PAGES_DEFAULT },
      run: (job, context) => readUploads(job.params, context),
    },
  },
})

export default youtube

async function channelOf(
  creatorId: string,
  context: Context,
): Promise<{ profile: Profile; uploads?: string }> {
  const part = 'snippet,statistics,contentDetails'
  // By handle it answers for one at a time. By id the reference gives a reply 5 items unless it is asked for more, and a channel that
  // were cut off would look as if it did not exist.
  const channel = isChannelId(creatorId)
    ? (await context.getMany('channel', [creatorId], { query: { part, maxResults: PAGE_ITEMS_MAX } })).get(
        creatorId,
      )
    : (await context.get('channel', { query: { part, forHandle: creatorId } })).items[0]
  if (channel === undefined) throw new AttemptError('not_found', `YouTube knows no channel ${creatorId}`)
  const { snippet, statistics, contentDetails } = channel
  const { uploads } = contentDetails.relatedPlaylists
  const profile: Profile = {
    name: snippet.title,
    handle: snippet.customUrl?.replace(/^@/, '').toLowerCase() ?? channel.id,
    biography: snippet.description,
    // The Data API does not tell who is verified.
    verified: false,
    pictureUrl: largest(snippet.thumbnails),
    numbers: {
      followers: statistics.hiddenSubscriberCount ? undefined : statistics.subscriberCount,
      posts: statistics.videoCount,
      views: statistics.viewCount,
    },
  }
  return uploads === undefined || uploads === '' ? { profile } : { profile, uploads }
}

/** One page of a channel's uploads, newest first, with numbers. */
async function uploadsPage(playlistId: string, cursor: string | undefined, context: Context) {
  let page: z.output<typeof playlistItemList>
  try {
    page = await context.get('playlist_items', {
      query: { part: 'contentDetails', playlistId, maxResults: PAGE_ITEMS_MAX, pageToken: cursor },
    })
  } catch (error) {
    // A channel that never uploaded has an uploads playlist by name only. The channel itself is there: it is not gone.
    if (error instanceof AttemptError && error.reason === 'not_found') return { posts: [], cursor: undefined }
    throw error
  }
  const ids = page.items.map((item) => item.contentDetails.videoId)
  return { posts: await videosOf(ids, context), cursor: page.nextPageToken }
}

async function videosOf(ids: readonly string[], context: Context): Promise<Post[]> {
  const videos = await context.getMany('videos', ids, { query: { part: 'snippet,statistics' } })
  return [...videos.values()].map(({ id, snippet, statistics }) => ({
    id,
    kind: 'video',
    title: snippet.title,
    url: `https://www.youtube.com/watch?v=${id}`,
    publishedAtMs: Date.parse(snippet.publishedAt),
    pictureUrl: largest(snippet.thumbnails),
    numbers: { views: statistics.viewCount, likes: statistics.likeCount, comments: statistics.commentCount },
  }))
}

interface UploadsParams {
  readonly playlist_id: string
  readonly cursor?: string | undefined
  readonly pages_max: number
  readonly rest: boolean
  readonly pictures_max: number
}

async function readUploads(params: UploadsParams, context: Context) {
  const posts: Post[] = []
  let cursor = params.cursor
  for (let pages = 0; pages < params.pages_max; pages += 1) {
    const page = await uploadsPage(params.playlist_id, cursor, context)
    posts.push(...page.posts)
    // A token that repeats would go round for ever.
    if (page.cursor === undefined || page.cursor === cursor) {
      cursor = undefined
      break
    }
    cursor = page.cursor
  }
  if (cursor === undefined) return mediaHarvest(posts, params.pictures_max)
  const job = { job_type: 'media_pages', params: { ...params, pictures_max: 0, cursor } }
  return mediaHarvest(posts, params.pictures_max, { wanted: params.rest, job })
}

function largest(pictures: z.output<typeof thumbnails> | undefined): string | undefined {
  const size = ['maxres', 'standard', 'high', 'medium', 'default'].find(
    (name) => pictures?.[name] !== undefined,
  )
  return size === undefined ? undefined : pictures?.[size]?.url
}

// Both spellings of an error stand in a reply: Google's older one (`errors[].reason`) and google.rpc.ErrorInfo (`details[]`).
const cause = z.looseObject({
  reason: z.string().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
})
const errorBody = z.looseObject({
  error: z.looseObject({
    message: z.string().default(''),
    errors: z.array(cause).default([]),
    details: z.array(cause).default([]),
  }),
})

function errorOf(reply: JsonReply) {
  const parsed = errorBody.safeParse(reply.json)
  if (!parsed.success) return undefined
  const { message, errors, details } = parsed.data.error
  const reasons = [...errors, ...details].flatMap(({ reason }) => (reason === undefined ? [] : [reason]))
  const perDay = details.some(({ metadata }) => /PerDay/i.test(metadata?.quota_limit ?? ''))
  return { message: message.replaceAll(/<[^>]*>/g, ''), reasons, perDay }
}

const SPENT = ['quotaExceeded', 'dailyLimitExceeded']
const TOO_FAST = [
  ...['rateLimitExceeded', 'userRateLimitExceeded', 'RATE_LIMIT_EXCEEDED'],
  ...['servingLimitExceeded', 'concurrentLimitExceeded'],
]

function throttled(reply: JsonReply): Throttle | undefined {
  if (reply.status !== 403 && reply.status !== 429) return undefined
  const error = errorOf(reply)
  const tooFast =
    reply.status === 429 || (error?.reasons.some((reason) => TOO_FAST.includes(reason)) ?? false)
  const spent =
    error !== undefined && (error.perDay || error.reasons.some((reason) => SPENT.includes(reason)))
  // Quotas belong to the project that the key is of.
  if (spent) {
    const untilReset = untilMidnightMs('America/Los_Angeles', answeredAtMs(reply))
    return {
      reason: 'quota_exhausted',
      message: `YouTube: the daily quota is spent (${error.message})`,
      retryAfterMs: retryAfterMs(reply) ?? untilReset,
      scope: 'credential',
    }
  }
  if (!tooFast) return undefined
  return {
    reason: 'rate_limited',
    message: `YouTube: slow down (${error?.message ?? `status ${reply.status}`})`,
    ...waiting(retryAfterMs(reply)),
    scope: 'credential',
  }
}

const KEY_REFUSED = ['keyInvalid', 'keyExpired', 'API_KEY_INVALID', 'API_KEY_EXPIRED', 'authError']
const GONE = ['channelNotFound', 'playlistNotFound', 'videoNotFound', 'channelClosed', 'channelSuspended']
const CLOSED = ['channelForbidden', 'playlistItemsNotAccessible', 'playlistForbidden']
/** Google's own trouble, although the status says that the call was wrong. */
const FAILED = ['processingFailure', 'backendError', 'internalError']

function refused(reply: JsonReply): Refusal | undefined {
  if (reply.status < 400 || reply.status >= 500) return undefined
  const error = errorOf(reply)
  if (error === undefined) return undefined
  const says = (reasons: readonly string[]) => error.reasons.some((reason) => reasons.includes(reason))
  const message = `YouTube: ${error.message || `status ${reply.status}`}`
  if (reply.status === 401 || says(KEY_REFUSED)) return { reason: 'unauthorized', message }
  // Older replies to a wrong key carry `badRequest` only; the text is all that tells it from a wrong parameter.
  if (reply.status === 400 && /API key/i.test(error.message)) return { reason: 'unauthorized', message }
  if (says(GONE)) return { reason: 'not_found', message }
  if (says(CLOSED)) return { reason: 'private', message }
  if (says(FAILED)) return { reason: 'upstream_error', message }
  if (reply.status === 403) return { reason: 'forbidden', message }
  return undefined
}
