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

const PATH = /^\/v\d{1,3}\.\d\/(\d{1,20})$/
const DISCOVERY = /^business_discovery\.username\(([^)]{1,60})\)\{(.+)\}$/s
const MEDIA = /(?:^|,)media((?:\.(?:limit|after)\([^)]*\))*)(?:\{|,|$)/
const PAGE_MAX = 100

/** Plays the Instagram Graph API: business discovery with field expansion, and posts by id. */
export function playInstagram(world: World): Player {
  const { population, growth, accounts } = world
  const own = accounts.firstInstagramUser

  function user(username: string, fields: string, request: PlayedRequest): PlayedReply {
    const handle = username.toLowerCase()
    const found = population.find('instagram', handle)
    // A private account cannot be told from none: neither is a professional one.
    if (found === undefined || found.fate === 'private') {
      return error(400, 110, 'Invalid user id', {
        error_subcode: 2207013,
        is_transient: false,
        error_user_title: 'Cannot find User',
        error_user_msg: `The user with username: ${username} cannot be found.`,
      })
    }
    const state = growth.creator('instagram', found.index, request.nowMs)
    const { name, biography } = describeCreator(handle, hash32(world.seed, found.index))
    const id = `17841${String(found.index + 400_000_000_000).padStart(12, '0')}`
    const known: Readonly<Record<string, unknown>> = {
      username: handle,
      name,
      biography,
      profile_picture_url: pictureUrl(request.base, 'instagram', handle, 'avatar'),
      followers_count: state.followers,
      follows_count: state.following,
      media_count: state.posts,
    }
    const answer: Record<string, unknown> = {}
    const plain = fields.replace(/\{.*\}/s, '')
    for (const field of plain.split(',')) if (field in known) answer[field] = known[field]
    const media = MEDIA.exec(fields)
    if (media !== null && state.posts > 0) {
      answer.media = page(found.index, handle, state.posts, media[1] ?? '', request)
    }
    return json(200, { business_discovery: { ...answer, id }, id: PATH.exec(request.path)![1] }, usage(0))
  }

  /** Newest first. The cursor names the last post of its page, as Meta's do. */
  function page(index: number, handle: string, posts: number, modifiers: string, request: PlayedRequest) {
    const size = Math.min(PAGE_MAX, Number(/limit\((\d{1,4})\)/.exec(modifiers)?.[1] ?? 25) || 25)
    const after = /after\(([^)]+)\)/.exec(modifiers)?.[1]
    const from = after === undefined ? posts - 1 : readCursor(after) - 1
    const data = []
    let last = from
    for (let n = from; n >= 0 && data.length < size; n -= 1) {
      const item = post(index, handle, n, request)
      if (item !== undefined) data.push(item)
      last = n
    }
    return { data, ...(data.length === 0 ? {} : { paging: { cursors: { after: writeCursor(last) } } }) }
  }

  function post(index: number, handle: string, n: number, request: PlayedRequest) {
    const state = growth.post('instagram', index, n, request.nowMs)
    if (state === undefined) return undefined
    const draw = hash32(world.seed, index, n)
    const kind = (['IMAGE', 'IMAGE', 'CAROUSEL_ALBUM', 'VIDEO'] as const)[draw % 4]!
    const url = pictureUrl(request.base, 'instagram', handle, n)
    return {
      id: population.mediaId(index, n),
      caption: `Post ${n + 1} #${handle.split('_')[1]}`,
      media_type: kind,
      media_product_type: kind === 'VIDEO' ? 'REELS' : 'FEED',
      ...(kind === 'VIDEO'
        ? { media_url: url.replace('.jpg', '.mp4'), thumbnail_url: url }
        : { media_url: url }),
      permalink: `https://www.instagram.com/p/${population.postCode('instagram', index, n)}/`,
      timestamp: `${new Date(state.publishedAtMs).toISOString().slice(0, 19)}+0000`,
      // One owner in twelve hides likes; the field is gone then.
      ...(hash32(world.seed, index, 7) % 12 === 0 ? {} : { like_count: state.likes }),
      comments_count: state.comments,
      ...(kind === 'VIDEO' ? { view_count: state.views } : {}),
    }
  }

  function single(id: string, request: PlayedRequest): PlayedReply {
    const place = population.mediaOf(id)
    const fate = place === undefined ? 'missing' : population.fate('instagram', place.index)
    const item =
      place === undefined || fate !== 'public'
        ? undefined
        : post(place.index, population.handle('instagram', place.index), place.n, request)
    if (item !== undefined) return json(200, item, usage(0))
    const message = `Unsupported get request. Object with ID '${id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation.`
    return error(400, 100, message, { type: 'GraphMethodException', error_subcode: 33 })
  }

  /** In percent of what is allowed in a rolling hour; 100 is said to who is refused, and only then. */
  function usage(regainMinutes: number): readonly string[] {
    const percent = regainMinutes > 0 ? 100 : world.usedPercent('instagram')
    const counts = `"call_count":${percent},"total_cputime":${percent >> 1},"total_time":${percent >> 1}`
    return [
      'x-app-usage',
      `{${counts}}`,
      'x-business-use-case-usage',
      `{"${own}":[{"type":"instagram",${counts},"estimated_time_to_regain_access":${regainMinutes}}]}`,
    ]
  }

  return {
    endpointOf(path, query) {
      const id = PATH.exec(path)?.[1]
      if (id === undefined) return undefined
      if (!accounts.isInstagramUser(id)) return 'media_details'
      return MEDIA.test(DISCOVERY.exec(query.get('fields') ?? '')?.[2] ?? '') ? 'user_media' : 'user_profile'
    },
    accountOf: (request) => accounts.ofInstagramToken(tokenOf(request) ?? ''),
    answer(endpoint, request) {
      const token = tokenOf(request)
      if (token === undefined) return error(400, 104, 'An access token is required to request this resource.')
      if (accounts.ofInstagramToken(token) === undefined) {
        return error(400, 190, 'Invalid OAuth access token - Cannot parse access token')
      }
      if (endpoint === undefined) return error(400, 2500, `Unknown path components: ${request.path}`)
      if (endpoint === 'media_details') return single(PATH.exec(request.path)![1]!, request)
      const discovery = DISCOVERY.exec(request.query.get('fields') ?? '')
      if (discovery === null) return error(400, 100, '(#100) Tried accessing nonexistent field', {})
      return user(discovery[1]!, discovery[2]!, request)
    },
    // The real one tells the wait in minutes, in the usage header only; Retry-After says it to the second.
    throttle(waitMs, level) {
      const headers = [...usage(Math.max(1, Math.ceil(waitMs / 60_000))), ...retryAfter(waitMs)]
      const reply =
        level?.startsWith('endpoint:') === true
          ? error(403, 613, '(#613) Calls to this api have exceeded the rate limit.')
          : error(403, 4, '(#4) Application request limit reached', { is_transient: true })
      return { ...reply, headers }
    },
    quotaSpent: () => error(403, 4, '(#4) Application request limit reached', { is_transient: true }),
    failure: () =>
      error(500, 2, 'An unexpected error has occurred. Please retry your request later.', {
        is_transient: true,
      }),
    errorBody: () => error(500, 1, 'An unknown error occurred').body,
  }
}

function error(status: number, code: number, message: string, more: object = {}): PlayedReply {
  return json(status, {
    error: { message, type: 'OAuthException', code, ...more, fbtrace_id: 'ASimulatedTrace' },
  })
}

function writeCursor(n: number): string {
  return Buffer.from(`QVF:${n}`).toString('base64url')
}

/** What cannot be read is behind the last post: an empty page. */
function readCursor(cursor: string): number {
  const match = /^QVF:(\d{1,7})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'))
  return match === null ? 0 : Number(match[1])
}

function tokenOf({ headers, query }: Pick<PlayedRequest, 'headers' | 'query'>): string | undefined {
  return bearer(headers) ?? query.get('access_token') ?? undefined
}
