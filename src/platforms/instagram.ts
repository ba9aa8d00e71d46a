/**
 * Instagram Graph API with Facebook login, business discovery, v26.0 (since 29 July 2026; the version before it ends two years
 * after that). Read November 2026, below https://developers.facebook.com/docs:
 * instagram-platform/instagram-graph-api/reference/ig-user/business_discovery, …/ig-user, …/ig-media and …/error-codes;
 * graph-api/guides/error-handling, graph-api/overview/rate-limiting and graph-api/changelog/versions. One professional account of
 * ours asks about other professional accounts by username, with nested fields and cursors. Personal, private and age-gated accounts
 * cannot be told from ones that do not exist. No call is shared by jobs: it takes one username, and of the Graph API's batch requests
 * each part counts as a call of its own.
 */
import { z } from 'zod'
import { AttemptError } from '../job/errors.ts'
import type { CallContext, CallOptions, JsonReply, Refusal, Throttle } from '../job/platform.ts'
import { definePlatform } from './define.ts'
import { normaliseHandle } from './handle.ts'
import { regainAccessMs, usageAdvice } from './instagram-usage.ts'
import { PAGES_DEFAULT, pageParams, picturesMax } from './params.ts'
import { retryAfterMs, waiting } from './reply.ts'
import { mediaHarvest, type Post, type Profile, profileHarvest } from './snapshot.ts'

const VERSION = 'v26.0'
/** Posts of one page. Meta throttles by CPU time as well, and larger pages fail more often. */
const PAGE_POSTS = 25

const PROFILE_FIELDS =
  'id,username,name,biography,profile_picture_url,followers_count,follows_count,media_count'
const MEDIA_FIELDS =
  'id,caption,media_type,media_product_type,media_url,thumbnail_url,permalink,timestamp,like_count,comments_count,view_count'

const count = z.int().nonnegative()
const time = z.string().refine((text) => Number.isFinite(Date.parse(text)), 'expected a date and time')

const media = z.looseObject({
  id: z.string(),
  caption: z.string().optional(),
  media_type: z.string(),
  // Left out for copyrighted material.
  media_url: z.string().optional(),
  thumbnail_url: z.string().optional(),
  permalink: z.string().optional(),
  timestamp: time,
  // Left out when the owner hides likes.
  like_count: count.optional(),
  comments_count: count.optional(),
  view_count: count.optional(),
})

const mediaPage = z.looseObject({
  data: z.array(media),
  paging: z.looseObject({ cursors: z.looseObject({ after: z.string().optional() }).optional() }).optional(),
})

const userProfile = z.looseObject({
  business_discovery: z.looseObject({
    id: z.string(),
    username: z.string(),
    name: z.string().optional(),
    biography: z.string().optional(),
    profile_picture_url: z.string().optional(),
    followers_count: count,
    follows_count: count.optional(),
    media_count: count,
  }),
})

const userMedia = z.looseObject({
  // An account without posts has no `media` at all.
  business_discovery: z.looseObject({ id: z.string(), media: mediaPage.optional() }),
})

const endpoints = {
  user_profile: { path: `/${VERSION}/:ig_user_id`, response: userProfile },
  user_media: { path: `/${VERSION}/:ig_user_id`, response: userMedia },
  media_details: { path: `/${VERSION}/:media_id`, response: media },
} as const

type Context = CallContext<typeof endpoints>

export const instagram = definePlatform({
  name: 'instagram',
  origin: 'https://graph.facebook.com',
  version: `Instagram Graph API ${VERSION}`,
  credentials: z.object({
    access_token: z.string().min(1),
    ig_user_id: z.string().regex(/^\d+$/, 'expected the numeric id of your own professional account'),
  }),
  endpoints,
  creatorId: (id) => normaliseHandle('instagram', id),
  // As a header, the token stays out of addresses, which end up in logs and errors.
  authorise: ({ access_token, ig_user_id }) => ({
    headers: { authorization: `Bearer ${access_token}` },
    path: { ig_user_id },
  }),
  throttled,
  refused,
  advice: usageAdvice,
  jobs: {
    full_profile_scrape: {
      params: z.object({ pictures_max: picturesMax.default(3) }),
      calls: { user_profile: 1, user_media: 1 },
      async run(job, context) {
        const profile = await profileOf(job.creatorId, context)
        if (profile.numbers.posts === 0) return profileHarvest(profile)
        const posts = postsOf(await context.get('user_media', mediaCall(job.creatorId)))
        return profileHarvest(profile, posts, job.params.pictures_max)
      },
    },
    profile: {
      params: z.object({}),
      calls: { user_profile: 1 },
      async run(job, context) {
        return profileHarvest(await profileOf(job.creatorId, context))
      },
    },
    media: {
      params: z.object({
        ...pageParams(PAGE_POSTS),
        cursor: z.string().optional().describe('Where an earlier job stopped.'),
        pictures_max: picturesMax.default(0),
      }),
      calls: { user_media: PAGES_DEFAULT },
      async run(job, context) {
        const posts: Post[] = []
        let cursor = job.params.cursor
        const pages = context.paginate(
          'user_media',
          mediaCall(job.creatorId, cursor),
          (page) => {
            const after = cursorOf(page)
            return after === undefined ? undefined : mediaCall(job.creatorId, after)
          },
          { pagesMax: job.params.pages_max },
        )
        for await (const page of pages) {
          posts.push(...postsOf(page))
          const after = cursorOf(page)
          cursor = after === cursor ? undefined : after
        }
        const { rest, pages_max, pictures_max } = job.params
        if (cursor === undefined) return mediaHarvest(posts, pictures_max)
        const next = { job_type: 'media', params: { pages_max, rest, cursor } }
        return mediaHarvest(posts, pictures_max, { wanted: rest, job: next })
      },
    },
    /** Single posts, by id. Meta answers it for posts of accounts that our own token manages, not for anybody's. */
    media_details: {
      params: z.object({
        media_ids: z.array(z.string().regex(/^\d+$/)).min(1).max(50),
        pictures_max: picturesMax.default(0),
      }),
      // Of each id.
      calls: { media_details: 1 },
      async run(job, context) {
        const posts: Post[] = []
        const missing: string[] = []
        for (const media_id of job.params.media_ids) {
          const call = { path: { media_id }, query: { fields: MEDIA_FIELDS } }
          try {
            posts.push(postOf(await context.get('media_details', call)))
          } catch (error) {
            // A post that was deleted takes neither the others with it nor its creator.
            if (!(error instanceof AttemptError && error.reason === 'not_found')) throw error
            missing.push(media_id)
          }
        }
        const harvest = mediaHarvest(posts, job.params.pictures_max)
        return { ...harvest, data: { posts_read: posts.length, complete: missing.length === 0, missing } }
      },
    },
  },
})

export default instagram

async function profileOf(username: string, context: Context): Promise<Profile> {
  const { business_discovery: user } = await context.get('user_profile', {
    query: { fields: `business_discovery.username(${username}){${PROFILE_FIELDS}}` },
  })
  return {
    name: user.name ?? user.username,
    handle: user.username.toLowerCase(),
    biography: user.biography ?? '',
    // Business discovery does not tell who is verified.
    verified: false,
    pictureUrl: user.profile_picture_url,
    numbers: { followers: user.followers_count, following: user.follows_count, posts: user.media_count },
  }
}

function mediaCall(username: string, cursor?: string): CallOptions {
  const after = cursor === undefined ? '' : `.after(${cursor})`
  const media = `media${after}.limit(${PAGE_POSTS}){${MEDIA_FIELDS}}`
  return { query: { fields: `business_discovery.username(${username}){id,${media}}` } }
}

type MediaReply = z.output<typeof userMedia>

function postsOf(reply: MediaReply): Post[] {
  return reply.business_discovery.media?.data.map(postOf) ?? []
}

/** Where the next page starts. The last page has a cursor too; the one after it is empty. A short page is not the last one. */
function cursorOf(reply: MediaReply): string | undefined {
  const page = reply.business_discovery.media
  return page === undefined || page.data.length === 0 ? undefined : page.paging?.cursors?.after
}

const KINDS: Readonly<Record<string, string>> = { IMAGE: 'image', VIDEO: 'video', CAROUSEL_ALBUM: 'album' }

function postOf(post: z.output<typeof media>): Post {
  const kind = KINDS[post.media_type] ?? post.media_type.toLowerCase()
  return {
    id: post.id,
    kind,
    title: post.caption ?? '',
    url: post.permalink ?? '',
    publishedAtMs: Date.parse(post.timestamp),
    // `media_url` of a video is the video.
    pictureUrl: kind === 'video' ? post.thumbnail_url : (post.media_url ?? post.thumbnail_url),
    numbers: { likes: post.like_count, comments: post.comments_count, views: post.view_count },
  }
}

const errorBody = z.looseObject({
  error: z.looseObject({
    message: z.string().default(''),
    code: z.number(),
    error_subcode: z.number().optional(),
    is_transient: z.boolean().optional(),
  }),
})

function errorOf(reply: JsonReply) {
  const parsed = errorBody.safeParse(reply.json)
  return parsed.success ? parsed.data.error : undefined
}

/**
 * 4: the application, 17: the user, 32: the page, 341: the application, or Meta has trouble, 368: blocked for a while, 613: this
 * very call, 80000 to 80014: a business use case.
 */
const THROTTLES = [4, 17, 32, 341, 368, 613]

function throttled(reply: JsonReply): Throttle | undefined {
  const error = errorOf(reply)
  if (error === undefined) return undefined
  const { code, message } = error
  if (!THROTTLES.includes(code) && !(code >= 80_000 && code <= 80_014)) return undefined
  return {
    reason: 'rate_limited',
    message: `Instagram: ${message} (code ${code})`,
    ...waiting(retryAfterMs(reply) ?? regainAccessMs(reply)),
    scope: code === 613 ? 'endpoint' : 'credential',
  }
}

/** "User not found", also for accounts that are personal. */
const NO_USER = 2_207_013
/** "Object does not exist, cannot be loaded due to missing permissions": the id in the path. */
const NO_OBJECT = 33

function refused(reply: JsonReply): Refusal | undefined {
  const error = errorOf(reply)
  if (error === undefined) return undefined
  const message = `Instagram: ${error.message} (code ${error.code})`
  switch (error.code) {
    case 190:
    case 102:
      return { reason: 'unauthorized', message }
    case 110:
    case 24:
      return { reason: 'not_found', message }
    case 100:
      if (error.error_subcode === NO_USER) return { reason: 'not_found', message }
      if (error.error_subcode === NO_OBJECT) {
        if (reply.endpoint === 'media_details') return { reason: 'not_found', message }
        // The path names our own account, not the creator.
        return { reason: 'forbidden', message: `${message}; check ig_user_id and the token's permissions` }
      }
      // 100 is any invalid parameter, a field that was retired too. Without a subcode that says so, no creator is declared gone.
      return {
        reason: 'bad_response',
        message: `${message}; the adapter asks for what this version does not know`,
      }
    // Instagram's own servers, a download of theirs, and Meta's.
    case -2:
    case -1:
    case 1:
    case 2:
      return { reason: 'upstream_error', message }
    case 3:
    case 10:
      return { reason: 'forbidden', message }
    default:
      if (error.code >= 200 && error.code <= 299) return { reason: 'forbidden', message }
      return error.is_transient === true ? { reason: 'upstream_error', message } : undefined
  }
}
