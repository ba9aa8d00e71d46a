import type { Engine } from '../../timeseries/engine.ts'
import { type AskOptions, ask, BY_PARTITION } from './ask.ts'
import { momentOf, observedUnless } from './moment.ts'

export interface WhichCreator extends AskOptions {
  readonly platform: string
  readonly creatorId: string
}

/** Numbers that were last seen longer ago than this before the newest snapshot are not the creator's any more. */
const NUMBERS_DAYS = 35

const WHO = 'platform = {platform:String} AND creator_id = {creator_id:String}'

/** The newest snapshot of a creator with their stored pictures, or null when nothing is known of them. Keys have no addresses yet. */
export async function creator(engine: Engine, options: WhichCreator) {
  const params = { platform: options.platform, creator_id: options.creatorId }
  const [facts, numbers, pictures] = await Promise.all([
    ask<Facts>(
      engine,
      {
        sql: `SELECT name, handle, biography, verified, gone, flags, email, picture_url, followers, followers_before,
  toUnixTimestamp64Milli(followers_before_ts) AS before_ms, toUnixTimestamp64Milli(ts) AS ts_ms, toUnixTimestamp(observed_at) AS observed_s
FROM creators FINAL WHERE ${WHO}`,
        params,
      },
      options,
    ),
    ask<{ metric: string; value: number }>(
      engine,
      {
        sql: `WITH (SELECT ts FROM creators FINAL WHERE ${WHO}) AS newest
SELECT metric, argMax(value, ts) AS value FROM points FINAL
PREWHERE ${WHO} AND ts >= newest - INTERVAL ${NUMBERS_DAYS} DAY AND ts <= newest
GROUP BY metric ORDER BY metric`,
        params,
      },
      options,
      BY_PARTITION,
    ),
    ask<PictureRow>(
      engine,
      {
        sql: `SELECT subject, variant, key, width, height, bytes, thumbhash
FROM pictures FINAL WHERE ${WHO} ORDER BY subject = 'avatar' DESC, ts DESC, subject, variant LIMIT 100`,
        params,
      },
      options,
    ),
  ])
  const [row] = facts
  if (row === undefined) return null
  const { ts_ms, observed_s, before_ms, followers, followers_before, ...named } = row
  return {
    platform: options.platform,
    creator_id: options.creatorId,
    ...named,
    numbers: Object.fromEntries(numbers.map(({ metric, value }) => [metric, value])),
    followers_before: before_ms === 0 ? null : followers_before,
    followers_before_ts: momentOf(before_ms),
    ts: momentOf(ts_ms) ?? '',
    observed_at: observedUnless(ts_ms, observed_s),
    pictures: pictures.map((picture) => ({ ...picture, bytes: Number(picture.bytes) })),
  }
}

export type Creator = NonNullable<Awaited<ReturnType<typeof creator>>>

interface Facts {
  readonly name: string
  readonly handle: string
  readonly biography: string
  readonly verified: boolean
  readonly gone: boolean
  readonly flags: string[]
  readonly email: string
  readonly picture_url: string
  readonly followers: number | null
  readonly followers_before: number | null
  readonly before_ms: number
  readonly ts_ms: number
  readonly observed_s: number
}

interface PictureRow {
  readonly subject: string
  readonly variant: string
  readonly key: string
  readonly width: number
  readonly height: number
  readonly bytes: number
  readonly thumbhash: string
}
