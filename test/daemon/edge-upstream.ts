import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import type { Played } from '../../src/simulator/options.ts'

/** What a platform says of a creator and of the one post that there is. */
export interface Said {
  /** As it stands in the reply, digit by digit. */
  readonly followers: string
  readonly likes: string
  readonly name: string
  readonly biography: string
  /** RFC 3339, UTC, whole seconds. */
  readonly publishedAt: string
}

/** JSON with numbers that no double holds: `raw` ones stand in it as they are. */
function json(value: unknown): string {
  return JSON.stringify(value).replaceAll(/"raw:([^"]*)"/g, '$1')
}
const raw = (digits: string) => `raw:${digits}`

type Reply = (creator: string, said: Said) => unknown

/** The three calls of a full scrape, in the shapes that the adapters' own tests have from the references. */
const REPLIES: Readonly<Record<string, Reply>> = {
  'instagram profile': (username, { followers, name, biography }) => ({
    business_discovery: {
      ...{ id: '1', username, name, biography },
      ...{ followers_count: raw(followers), follows_count: 1, media_count: 1 },
    },
  }),
  'instagram media': (username, { likes, publishedAt }) => ({
    business_discovery: {
      id: '1',
      media: {
        data: [
          {
            ...{ id: `post-${username}`, caption: 'Post', media_type: 'IMAGE', permalink: '' },
            ...{ timestamp: publishedAt.replace('Z', '+0000'), like_count: raw(likes), comments_count: 0 },
          },
        ],
      },
    },
  }),
  'youtube channel': (handle, { followers, name, biography }) => ({
    items: [
      {
        id: `UC${handle}`,
        snippet: { title: name, description: biography },
        statistics: { subscriberCount: followers, hiddenSubscriberCount: false, videoCount: '1' },
        contentDetails: { relatedPlaylists: { uploads: handle } },
      },
    ],
  }),
  'youtube playlist': (handle) => ({ items: [{ contentDetails: { videoId: `post-${handle}` } }] }),
  'youtube video': (handle, { likes, publishedAt }) => ({
    id: `post-${handle}`,
    snippet: { title: 'Post', publishedAt },
    statistics: { viewCount: '0', likeCount: likes, commentCount: '0' },
  }),
  'tiktok user': (_, { followers, name, biography }) => ({
    data: {
      ...{ display_name: name, bio_description: biography, is_verified: false },
      ...{ follower_count: raw(followers), following_count: 1, likes_count: 1, video_count: 1 },
    },
    error: { code: 'ok' },
  }),
  'tiktok videos': (_, { likes, publishedAt }) => ({
    data: {
      videos: [
        {
          ...{ id: raw('7300000000000000001'), video_description: 'Post', like_count: raw(likes) },
          ...{ create_time: Date.parse(publishedAt) / 1000, comment_count: 0 },
        },
      ],
      has_more: false,
    },
    error: { code: 'ok' },
  }),
}

/** An upstream of the three platforms, each below a path of its name, that says of each creator what `sayings` has. */
export async function startEdges(t: TestContext, sayings: ReadonlyMap<string, Said>): Promise<string> {
  const say = (reply: string, creator: string): string => {
    const said = sayings.get(creator)
    if (said === undefined) throw new Error(`nobody is called ${creator}`)
    return json(REPLIES[reply]!(creator, said))
  }
  const answers: Readonly<Record<Played, (url: URL, body: string) => string>> = {
    instagram(url) {
      const fields = url.searchParams.get('fields') ?? ''
      const [, username = ''] = /username\((\w+)\)/.exec(fields) ?? []
      return say(fields.includes('{id,media') ? 'instagram media' : 'instagram profile', username)
    },
    youtube({ pathname, searchParams }) {
      if (pathname.endsWith('/channels'))
        return say('youtube channel', (searchParams.get('forHandle') ?? '').slice(1))
      if (pathname.endsWith('/playlistItems'))
        return say('youtube playlist', searchParams.get('playlistId') ?? '')
      const ids = (searchParams.get('id') ?? '').split(',')
      return `{"items":[${ids.map((id) => say('youtube video', id.slice('post-'.length))).join()}]}`
    },
    tiktok({ pathname }, body) {
      if (pathname.endsWith('/token/')) return '{"access_token":"act","expires_in":7200}'
      if (pathname.endsWith('/user/info/')) return say('tiktok user', JSON.parse(body).username)
      return say('tiktok videos', JSON.parse(body).query.and[0].field_values[0])
    },
  }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const url = new URL(request.url ?? '/', 'http://edge.test')
    const platform = url.pathname.split('/')[1] as Played
    response.setHeader('content-type', 'application/json')
    response.end(answers[platform](url, body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
