import { type Engine, sqlTime } from '../../timeseries/engine.ts'
import type { Place } from '../cursor.ts'
import { ask, BY_PARTITION } from './ask.ts'
import type { WhichCreator } from './creator.ts'
import { momentOf } from './moment.ts'

export interface MediaOptions extends WhichCreator {
  readonly limit: number
  readonly after?: Place | undefined
}

/** A page of a creator's posts, newest first, each with its newest numbers. */
export async function mediaPage(engine: Engine, options: MediaOptions) {
  const { platform, creatorId, limit, after } = options
  const who = 'platform = {platform:String} AND creator_id = {creator_id:String}'
  const params = { platform, creator_id: creatorId }
  const [published, id] = after?.key ?? []
  const posts = await ask<Post>(
    engine,
    {
      sql: `SELECT media_id, kind, title, url, toUnixTimestamp(published_at) AS published_s, toUnixTimestamp64Milli(ts) AS ts_ms
FROM media FINAL WHERE ${who}
${after === undefined ? '' : 'AND (published_at < fromUnixTimestamp({published:Int64}) OR (published_at = fromUnixTimestamp({published:Int64}) AND media_id > {after_id:String}))'}
ORDER BY published_at DESC, media_id LIMIT {limit:UInt32}`,
      params: {
        ...params,
        limit: limit + 1,
        ...(after === undefined ? {} : { published, after_id: String(id) }),
      },
    },
    options,
  )
  const page = posts.slice(0, limit)
  const numbers = await numbersOf(engine, page, options)
  const last = page.at(-1)
  return {
    items: page.map(({ published_s, ts_ms, ...post }) => ({
      ...post,
      published_at: momentOf(published_s * 1000),
      ts: momentOf(ts_ms) ?? '',
      numbers: numbers.get(post.media_id) ?? {},
    })),
    next: posts.length > limit && last !== undefined ? [last.published_s, last.media_id] : null,
  }
}

interface Post {
  readonly media_id: string
  readonly kind: string
  readonly title: string
  readonly url: string
  readonly published_s: number
  readonly ts_ms: number | string
}

/** A post's numbers are of the snapshot that its facts are of, or a little older. */
const NUMBERS_MS = 35 * 86_400_000

async function numbersOf(engine: Engine, posts: readonly Post[], options: MediaOptions) {
  const byPost = new Map<string, Record<string, number>>()
  if (posts.length === 0) return byPost
  const oldestMs = Math.min(...posts.map((post) => Number(post.ts_ms)))
  const rows = await ask<{ media_id: string; metric: string; value: number }>(
    engine,
    {
      sql: `SELECT media_id, metric, argMax(value, ts) AS value FROM media_points FINAL
PREWHERE platform = {platform:String} AND creator_id = {creator_id:String} AND media_id IN {ids:Array(String)}
  AND ts >= {from:DateTime64(3, 'UTC')}
GROUP BY media_id, metric ORDER BY metric`,
      params: {
        platform: options.platform,
        creator_id: options.creatorId,
        ids: posts.map((post) => post.media_id),
        from: sqlTime(Math.max(0, oldestMs - NUMBERS_MS)),
      },
    },
    options,
    BY_PARTITION,
  )
  for (const { media_id, metric, value } of rows) {
    const numbers = byPost.get(media_id) ?? {}
    numbers[metric] = value
    byPost.set(media_id, numbers)
  }
  return byPost
}
