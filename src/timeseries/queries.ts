import type { TableName } from '../job/row.ts'
import { type Engine, execute, type QueryOptions, select, sqlTime } from './engine.ts'
import { TABLES } from './tables.ts'

/**
 * The versions of a row share `ts` (or `day`), hence its partition: FINAL may work partition by partition. Only for tables
 * that are partitioned by time.
 *
 * Conditions on columns of the sorting key, which all versions of a row share, stand in PREWHERE: FINAL then merges what they leave
 * instead of whole granules. Under FINAL the engine moves none there by itself.
 */
const FINAL_BY_PARTITION = { settings: 'do_not_merge_across_partitions_select_final = 1' }

export interface GrowthOptions extends QueryOptions {
  readonly metric: string
  /** One platform, or all. */
  readonly platform?: string | undefined
  /** Unix ms, both inclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** `absolute`: by difference; `relative`: by difference over the first number, of those that did not start at 0. */
  readonly by: 'absolute' | 'relative'
  /** The first number must be at least this; keeps tiny creators out of the relative order. Default 0. */
  readonly valueMin?: number
  /** 1–1,000. Default 20. */
  readonly limit?: number
  /**
   * `points`: every snapshot, exact to the millisecond. `points_daily`: the last number of each day. `growth_7d`: the first and
   * the last day of the last seven, whatever the window says; by far the cheapest, some minutes old. Default points.
   */
  readonly source?: 'points' | 'points_daily' | 'growth_7d'
}

export interface Growth {
  readonly platform: string
  readonly creatorId: string
  /** Empty when only the creator's numbers are known. */
  readonly name: string
  readonly handle: string
  /** When the first and last number were taken; a day's begin with `points_daily`. */
  readonly fromMs: number
  readonly toMs: number
  readonly first: number
  readonly last: number
  readonly absolute: number
  /** 0.05 is five per cent; null when the first number is not positive. */
  readonly relative: number | null
}

/** Creators that grew fastest between their first and last snapshot inside the window, fastest first. */
export async function fastestGrowing(engine: Engine, options: GrowthOptions): Promise<Growth[]> {
  const { source = 'points' } = options
  const daily = source !== 'points'
  const at = daily ? 'day' : 'ts'
  const atMs = (of: string) =>
    daily ? `toUnixTimestamp(toDateTime(${of}, 'UTC')) * 1000` : `toUnixTimestamp64Milli(${of})`
  const moment = daily ? 'Date' : "DateTime64(3, 'UTC')"
  const order = options.by === 'absolute' ? 'absolute' : 'relative'
  const platform = options.platform === undefined ? '' : 'AND platform = {platform:String}'
  const firstAndLast =
    source === 'growth_7d'
      ? `SELECT platform, creator_id, day_from AS first_at, day_to AS last_at, value_from AS first, value_to AS last
      FROM growth_7d
      WHERE metric = {metric:String} ${platform} AND value_from >= {value_min:Float64}`
      : `SELECT platform, creator_id, min(${at}) AS first_at, max(${at}) AS last_at,
        argMin(value, ${at}) AS first, argMax(value, ${at}) AS last
      FROM ${source} FINAL
      PREWHERE metric = {metric:String} AND ${at} >= {from:${moment}} AND ${at} <= {to:${moment}} ${platform}
      GROUP BY platform, creator_id
      HAVING first_at < last_at AND first >= {value_min:Float64}`
  const rows = await select<
    { platform: string; creator_id: string } & Record<GrowthNumber, number | string | null>
  >(
    engine,
    `SELECT platform, creator_id, ${atMs('first_at')} AS from_ms, ${atMs('last_at')} AS to_ms, first, last,
      last - first AS absolute, if(first > 0, (last - first) / first, NULL) AS relative
    FROM (${firstAndLast})
    ${options.by === 'relative' ? 'WHERE relative IS NOT NULL' : ''}
    ORDER BY ${order} DESC, platform, creator_id
    LIMIT {limit:UInt32}`,
    {
      metric: options.metric,
      from: sqlTime(options.fromMs).slice(0, daily ? 10 : 23),
      to: sqlTime(options.toMs).slice(0, daily ? 10 : 23),
      value_min: options.valueMin ?? 0,
      limit: Math.min(Math.max(Math.trunc(options.limit ?? 20), 1), 1_000),
      ...(options.platform === undefined ? {} : { platform: options.platform }),
    },
    { ...options, ...FINAL_BY_PARTITION },
  )
  const names = await creatorNames(engine, rows, options)
  return rows.map((row) => ({
    platform: row.platform,
    creatorId: row.creator_id,
    ...(names.get(`${row.platform} ${row.creator_id}`) ?? { name: '', handle: '' }),
    fromMs: Number(row.from_ms),
    toMs: Number(row.to_ms),
    first: Number(row.first),
    last: Number(row.last),
    absolute: Number(row.absolute),
    relative: row.relative === null ? null : Number(row.relative),
  }))
}

type GrowthNumber = 'from_ms' | 'to_ms' | 'first' | 'last' | 'absolute' | 'relative'

/** Names of a page of creators: by key, so that the page's own query needs no join. */
async function creatorNames(
  engine: Engine,
  creators: readonly { readonly platform: string; readonly creator_id: string }[],
  options: QueryOptions,
): Promise<Map<string, { name: string; handle: string }>> {
  if (creators.length === 0) return new Map()
  const rows = await select<{ platform: string; creator_id: string; name: string; handle: string }>(
    engine,
    `SELECT platform, creator_id, name, handle FROM creators FINAL
    WHERE platform IN {platforms:Array(String)} AND creator_id IN {ids:Array(String)}`,
    {
      platforms: [...new Set(creators.map((creator) => creator.platform))],
      ids: [...new Set(creators.map((creator) => creator.creator_id))],
    },
    options,
  )
  return new Map(
    rows.map(({ platform, creator_id, name, handle }) => [`${platform} ${creator_id}`, { name, handle }]),
  )
}

export interface DailyOptions extends QueryOptions {
  readonly platform: string
  readonly metric: string
  /** Unix ms, both inclusive; of the days they lie in. */
  readonly fromMs: number
  readonly toMs: number
}

export interface DailyTotal {
  /** When the day begins. */
  readonly dayMs: number
  /** Who were seen that day. */
  readonly creators: number
  /** Sum of their last numbers of that day. */
  readonly total: number
}

/** A platform's totals of each day, oldest first, a minute old at most. */
export async function platformDaily(engine: Engine, options: DailyOptions): Promise<DailyTotal[]> {
  const rows = await select<{ day_s: number | string; creators: number | string; total: number }>(
    engine,
    `SELECT toUnixTimestamp(toDateTime(day, 'UTC')) AS day_s, creators, total FROM platform_daily
    WHERE platform = {platform:String} AND metric = {metric:String} AND day >= {from:Date} AND day <= {to:Date}
    ORDER BY day`,
    {
      platform: options.platform,
      metric: options.metric,
      from: sqlTime(options.fromMs).slice(0, 10),
      to: sqlTime(options.toMs).slice(0, 10),
    },
    options,
  )
  return rows.map((row) => ({
    dayMs: Number(row.day_s) * 1000,
    creators: Number(row.creators),
    total: row.total,
  }))
}

export interface PlatformTotal {
  readonly platform: string
  readonly creators: number
  /** Sum of the creators' newest numbers. */
  readonly total: number
  /** When the newest of them was taken. */
  readonly newestMs: number
}

/** Newest number of every creator, summed by platform, in alphabetical order. */
export async function totalsByPlatform(
  engine: Engine,
  metric: string,
  options: QueryOptions = {},
): Promise<PlatformTotal[]> {
  const rows = await select<Record<keyof PlatformTotal, number | string>>(
    engine,
    // A day's ord is its newest snapshot in ms · 65536 + version.
    `SELECT platform, count() AS creators, sum(newest) AS total, intDiv(max(newest_ord), 65536) AS newestMs
    FROM (
      SELECT platform, creator_id, argMax(value, ord) AS newest, max(ord) AS newest_ord
      FROM points_daily FINAL WHERE metric = {metric:String} GROUP BY platform, creator_id
    )
    GROUP BY platform ORDER BY platform`,
    { metric },
    { ...options, ...FINAL_BY_PARTITION },
  )
  return rows.map((row) => ({
    platform: String(row.platform),
    creators: Number(row.creators),
    total: Number(row.total),
    newestMs: Number(row.newestMs),
  }))
}

/** Rows of each table as a reader sees them: replays and corrections counted once. */
export async function rowCounts(
  engine: Engine,
  options: QueryOptions = {},
): Promise<Record<TableName, number>> {
  const counts = TABLES.map((table) => `(SELECT count() FROM ${table} FINAL) AS ${table}`)
  const [row] = await select<Record<TableName, number | string>>(
    engine,
    `SELECT ${counts.join(', ')}`,
    {},
    options,
  )
  return Object.fromEntries(TABLES.map((table) => [table, Number(row?.[table] ?? 0)])) as Record<
    TableName,
    number
  >
}

export interface HistoryOptions extends QueryOptions {
  readonly platform: string
  readonly creatorId: string
  readonly metric: string
  /** Unix ms, both inclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** 1–100,000. Default 10,000. The oldest are returned when there are more. */
  readonly limit?: number
}

export interface Sample {
  /** The logical time of the snapshot. */
  readonly tsMs: number
  /** When the platform answered, to the second. */
  readonly observedAtMs: number
  readonly value: number
}

/** One number of one creator over time, oldest first. */
export async function history(engine: Engine, options: HistoryOptions): Promise<Sample[]> {
  const rows = await select<{ ts_ms: number | string; observed_s: number | string; value: number }>(
    engine,
    `SELECT toUnixTimestamp64Milli(ts) AS ts_ms, toUnixTimestamp(observed_at) AS observed_s, value
    FROM points FINAL
    PREWHERE platform = {platform:String} AND metric = {metric:String} AND creator_id = {creator_id:String}
      AND ts >= {from:DateTime64(3, 'UTC')} AND ts <= {to:DateTime64(3, 'UTC')}
    ORDER BY ts LIMIT {limit:UInt32}`,
    {
      platform: options.platform,
      metric: options.metric,
      creator_id: options.creatorId,
      from: sqlTime(options.fromMs),
      to: sqlTime(options.toMs),
      limit: Math.min(Math.max(Math.trunc(options.limit ?? 10_000), 1), 100_000),
    },
    { ...options, ...FINAL_BY_PARTITION },
  )
  return rows.map((row) => ({
    tsMs: Number(row.ts_ms),
    observedAtMs: Number(row.observed_s) * 1000,
    value: row.value,
  }))
}

/** What the engine refreshes by itself; `platform_daily` shows what the first one counts. */
export const REFRESHED_VIEWS = ['platform_totals_mv', 'growth_7d']

/** Brings the refreshed views up to date now and waits for it: for the demo and tests, which do not live for a minute. */
export async function refreshViews(engine: Engine, signal?: AbortSignal): Promise<void> {
  for (const view of REFRESHED_VIEWS) await execute(engine, `SYSTEM REFRESH VIEW ${view}`, signal)
  for (const view of REFRESHED_VIEWS) await execute(engine, `SYSTEM WAIT VIEW ${view}`, signal)
}
