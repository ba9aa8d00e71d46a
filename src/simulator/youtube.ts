import { hash32 } from './hash.ts'
import {
  describeCreator,
  json,
  type PlayedReply,
  type PlayedRequest,
  type Player,
  pictureUrl,
  retryAfter,
  type World,
} from './play.ts'

const ENDPOINTS: Readonly<Record<string, string>> = {
  '/youtube/v3/channels': 'channel',
  '/youtube/v3/playlistItems': 'playlist_items',
  '/youtube/v3/videos': 'videos',
}

/** Of one call. */
const IDS_MAX = 50

/** Plays YouTube Data API v3. Subscriber counts are not rounded to three digits as the real ones are, so that growth can be seen. */
export function playYoutube(world: World): Player {
  const { population, growth } = world
  const answers: Readonly<Record<string, (request: PlayedRequest) => PlayedReply>> = {
    channel: (request) => {
      const { query } = request
      const ids = idsOf(query) ?? [(query.get('forHandle') ?? '').replace(/^@/, '').toLowerCase()]
      if (ids.length > IDS_MAX) return tooManyIds()
      // The strictest reading of the reference: it says 5 by default, and not that a list of ids is an exception.
      const size = Math.min(IDS_MAX, Math.max(0, Number(query.get('maxResults') ?? 5) || 0))
      const items = ids.flatMap((id) => {
        const found = population.find('youtube', id)
        return found === undefined ? [] : [channel(found.index, found.fate === 'private', request)]
      })
      return list('channelList', items.slice(0, size), size, { totalResults: items.length })
    },
    playlist_items: (request) => {
      const playlistId = request.query.get('playlistId') ?? ''
      const found = population.find('youtube', `UC${playlistId.slice(2)}`)
      if (!playlistId.startsWith('UU') || found === undefined) {
        return error(
          404,
          'The playlist identified with the request cannot be found.',
          'youtube.playlistItem',
          'playlistNotFound',
        )
      }
      return uploads(found.index, request)
    },
    videos: (request) => {
      const ids = idsOf(request.query) ?? []
      if (ids.length > IDS_MAX) return tooManyIds()
      const items = ids.flatMap((id) => {
        const post = population.postOf('youtube', id)
        return post === undefined ? [] : video(post.index, post.n, request)
      })
      return list('videoList', items, items.length)
    },
  }

  /** Each once, and not in the order asked: none is promised. */
  function idsOf(query: URLSearchParams): string[] | undefined {
    const ids = query.get('id')?.split(',')
    return ids && [...new Set(ids)].reverse()
  }

  function channel(index: number, hidden: boolean, request: PlayedRequest) {
    const handle = population.handle('youtube', index)
    const id = population.channelId(index)
    const state = growth.creator('youtube', index, request.nowMs)
    const { name, biography } = describeCreator(handle, hash32(world.seed, index))
    const url = pictureUrl(request.base, 'youtube', handle, 'avatar')
    return {
      kind: 'youtube#channel',
      etag: `e${index}`,
      id,
      snippet: {
        title: name,
        description: biography,
        customUrl: `@${handle}`,
        publishedAt: '2019-03-01T09:30:00Z',
        thumbnails: {
          default: { url, width: 88, height: 88 },
          medium: { url, width: 240, height: 240 },
          high: { url, width: 800, height: 800 },
        },
        localized: { title: name, description: biography },
        country: 'GB',
      },
      contentDetails: { relatedPlaylists: { likes: '', uploads: `UU${id.slice(2)}` } },
      statistics: {
        viewCount: String(state.views),
        subscriberCount: hidden ? '0' : String(state.followers),
        hiddenSubscriberCount: hidden,
        videoCount: String(state.posts),
      },
    }
  }

  /** Newest first. The token names the next video, so nothing is skipped when a new one appears between two pages. */
  function uploads(index: number, request: PlayedRequest): PlayedReply {
    const { posts } = growth.creator('youtube', index, request.nowMs)
    const size = Math.min(50, Math.max(1, Number(request.query.get('maxResults') ?? 5) || 5))
    const token = request.query.get('pageToken')
    const from = token === null ? posts - 1 : readToken(token)
    if (from === undefined || from >= posts) {
      return error(
        400,
        'The request specifies an invalid page token.',
        'youtube.parameter',
        'invalidPageToken',
      )
    }
    const items = []
    for (let n = from; n >= 0 && items.length < size; n -= 1) {
      const state = growth.post('youtube', index, n, request.nowMs)
      if (state === undefined) continue
      const videoId = population.postCode('youtube', index, n)
      const videoPublishedAt = iso(state.publishedAtMs)
      items.push({
        kind: 'youtube#playlistItem',
        etag: videoId,
        id: `UU${videoId}`,
        contentDetails: { videoId, videoPublishedAt },
      })
    }
    const next = from - size
    return list('playlistItemList', items, size, {
      totalResults: posts,
      ...(next >= 0 ? { nextPageToken: writeToken(next) } : {}),
    })
  }

  function video(index: number, n: number, request: PlayedRequest) {
    const state = growth.post('youtube', index, n, request.nowMs)
    if (state === undefined) return []
    const handle = population.handle('youtube', index)
    const url = pictureUrl(request.base, 'youtube', handle, n)
    const draw = hash32(world.seed, index, n)
    return [
      {
        kind: 'youtube#video',
        etag: `v${n}`,
        id: population.postCode('youtube', index, n),
        snippet: {
          publishedAt: iso(state.publishedAtMs),
          channelId: population.channelId(index),
          title: `Episode ${n + 1}`,
          description: '',
          thumbnails: {
            default: { url, width: 120, height: 90 },
            medium: { url, width: 320, height: 180 },
            high: { url, width: 480, height: 360 },
          },
          channelTitle: describeCreator(handle, hash32(world.seed, index)).name,
        },
        statistics: {
          viewCount: String(state.views),
          // One owner in twelve hides likes; the field is gone then.
          ...(draw % 12 === 0 ? {} : { likeCount: String(state.likes) }),
          favoriteCount: '0',
          commentCount: String(state.comments),
        },
      },
    ]
  }

  return {
    endpointOf: (path) => ENDPOINTS[path],
    accountOf: (request) => world.accounts.ofYoutubeKey(keyOf(request) ?? ''),
    answer(endpoint, request) {
      const key = keyOf(request)
      if (key === undefined) {
        return error(
          403,
          "Method doesn't allow unregistered callers. Please use API Key.",
          'global',
          'forbidden',
        )
      }
      if (world.accounts.ofYoutubeKey(key) === undefined) {
        return error(400, 'API key not valid. Please pass a valid API key.', 'global', 'badRequest', {
          status: 'INVALID_ARGUMENT',
          details: [
            {
              '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
              reason: 'API_KEY_INVALID',
              domain: 'googleapis.com',
            },
          ],
        })
      }
      const reply = endpoint === undefined ? undefined : answers[endpoint]
      return reply === undefined ? error(404, 'Not Found', 'global', 'notFound') : reply(request)
    },
    throttle: (waitMs) => ({
      ...error(
        403,
        'Quota exceeded for quota metric Queries per minute.',
        'usageLimits',
        'rateLimitExceeded',
      ),
      headers: retryAfter(waitMs),
    }),
    quotaSpent: () =>
      error(
        403,
        'The request cannot be completed because you have exceeded your <a href="/youtube/v3/getting-started#quota">quota</a>.',
        'youtube.quota',
        'quotaExceeded',
      ),
    failure: () => error(503, 'Backend Error', 'global', 'backendError'),
    errorBody: () => error(500, 'Internal error encountered.', 'global', 'backendError').body,
  }
}

function tooManyIds(): PlayedReply {
  return error(400, 'Too many ids.', 'youtube.parameter', 'invalidFilters')
}

function keyOf({ query, headers }: Pick<PlayedRequest, 'query' | 'headers'>): string | undefined {
  return query.get('key') ?? headers['x-goog-api-key']?.toString()
}

function list(
  kind: string,
  items: readonly unknown[],
  size: number,
  more: { totalResults?: number; nextPageToken?: string } = {},
) {
  const { totalResults = items.length, ...rest } = more
  return json(200, {
    kind: `youtube#${kind}Response`,
    etag: `l${totalResults}`,
    ...rest,
    pageInfo: { totalResults, resultsPerPage: size },
    // The real one leaves the field out when nothing matches.
    ...(items.length > 0 ? { items } : {}),
  })
}

function error(
  status: number,
  message: string,
  domain: string,
  reason: string,
  more: object = {},
): PlayedReply {
  return json(status, { error: { code: status, message, errors: [{ message, domain, reason }], ...more } })
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}

function writeToken(n: number): string {
  return Buffer.from(`PT:${n}`).toString('base64url')
}

function readToken(token: string): number | undefined {
  const match = /^PT:(\d{1,7})$/.exec(Buffer.from(token, 'base64url').toString('latin1'))
  return match === null ? undefined : Number(match[1])
}
