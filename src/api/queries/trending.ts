import type { Engine } from '../../timeseries/engine.ts'
import { type AskOptions, ask, BY_PARTITION } from './ask.ts'

export const WINDOWS = ['1d', '7d', '30d', '90d'] as const
export type Window = (typeof WINDOWS)[number]

export interface TrendingOptions extends AskOptions {
  readonly window: Window
  readonly by: 'absolute' | 'relative'
  readonly platform?: string | undefined
  /** The first number must be at least this. */
  readonly followersMin: number
  readonly limit: number
  /** Fastest falling instead. */
  readonly falling?: boolean
}

/** The week is what everybody looks at: a view of it is kept, some minutes old at most. Other windows are read from the daily numbers. */
const WEEK = "(SELECT * FROM growth_7d WHERE metric = 'followers')"
const DAYS = `(
  SELECT platform, creator_id, min(day) AS day_from, max(day) AS day_to, argMin(value, day) AS value_from,
    argMax(value, day) AS value_to, value_to - value_from AS absolute, if(value_from > 0, absolute / value_from, NULL) AS relative
  FROM points_daily FINAL
  PREWHERE metric = 'followers' AND day >= toDate(now('UTC')) - {days:UInt16} AND (isNull({platform:Nullable(String)}) OR platform = {platform:Nullable(String)})
  GROUP BY platform, creator_id
  HAVING day_from < day_to
)`

/** Creators whose followers changed most between the first and the last day they were seen on in the window. */
export async function trending(engine: Engine, options: TrendingOptions) {
  const { window, by, platform, followersMin, limit, falling = false } = options
  const rows = await ask<Mover>(
    engine,
    {
      sql: `SELECT platform, creator_id, toString(day_from) AS first_day, toString(day_to) AS last_day, value_from AS followers_from,
  value_to AS followers_to, absolute, relative
FROM ${window === '7d' ? WEEK : DAYS}
WHERE (isNull({platform:Nullable(String)}) OR platform = {platform:Nullable(String)})
  AND value_from >= {followers_min:Float64} AND ${by} ${falling ? '<' : '>'} 0
ORDER BY ${by} ${falling ? 'ASC' : 'DESC'}, platform, creator_id
LIMIT {limit:UInt32}`,
      params: {
        days: Number.parseInt(window, 10),
        platform: platform ?? null,
        followers_min: followersMin,
        limit,
      },
    },
    options,
    BY_PARTITION,
  )
  return await named(engine, rows, options)
}

interface Mover {
  readonly platform: string
  readonly creator_id: string
  readonly first_day: string
  readonly last_day: string
  readonly followers_from: number
  readonly followers_to: number
  readonly absolute: number
  readonly relative: number | null
}

/** With name and handle of each, by key. */
async function named(engine: Engine, movers: readonly Mover[], options: AskOptions) {
  const found =
    movers.length === 0
      ? []
      : await ask<{ platform: string; creator_id: string; name: string; handle: string }>(
          engine,
          {
            sql: `SELECT platform, creator_id, name, handle FROM creators FINAL
WHERE platform IN {platforms:Array(String)} AND creator_id IN {ids:Array(String)}`,
            params: {
              platforms: [...new Set(movers.map((one) => one.platform))],
              ids: [...new Set(movers.map((one) => one.creator_id))],
            },
          },
          options,
        )
  const names = new Map(found.map((one) => [`${one.platform} ${one.creator_id}`, one]))
  return movers.map((mover) => {
    const { name = '', handle = '' } = names.get(`${mover.platform} ${mover.creator_id}`) ?? {}
    return { ...mover, name, handle }
  })
}
