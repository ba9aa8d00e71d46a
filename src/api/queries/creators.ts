import type { Engine } from '../../timeseries/engine.ts'
import { sqlTime } from '../../timeseries/engine.ts'
import type { Place } from '../cursor.ts'
import { type AskOptions, ask } from './ask.ts'
import { momentOf } from './moment.ts'

export const SORTS = ['-followers', 'followers', '-engagement_rate', 'creator_id'] as const
export type Sort = (typeof SORTS)[number]

/** What may be asked for of each creator, beside platform and id. */
export const FIELDS = [
  'name',
  'handle',
  'biography',
  'verified',
  'gone',
  'flags',
  'followers',
  'engagement_rate',
  'ts',
] as const
export type Field = (typeof FIELDS)[number]

export interface CreatorFilter {
  readonly platform?: string | undefined
  readonly followers_min?: number | undefined
  readonly followers_max?: number | undefined
  readonly engagement_min?: number | undefined
  readonly verified?: boolean | undefined
  readonly q?: string | undefined
  readonly flag?: string | undefined
}

export interface CreatorsOptions extends AskOptions {
  readonly filter: CreatorFilter
  readonly sort: Sort
  readonly fields: readonly Field[]
  readonly limit: number
  readonly after?: Place | undefined
  /** The moment that the list is of, Unix ms: the same on all of its pages. */
  readonly asOfMs: number
}

export type CreatorItem = { readonly platform: string; readonly creator_id: string } & {
  readonly [F in Field]?: unknown
}

/**
 * What was answered this long before the list was begun may still be on its way into the table (rows.batch_age and an
 * insert): it counts as if it came later.
 */
const ON_ITS_WAY_MS = 30_000

/** Sorts unknown numbers last when the largest are first. */
const UNKNOWN = -1

const ORDERS: Readonly<Record<Sort, { readonly by: string | null; readonly descending: boolean }>> = {
  '-followers': { by: 'shown', descending: true },
  followers: { by: 'shown', descending: false },
  '-engagement_rate': { by: 'rate', descending: true },
  creator_id: { by: null, descending: false },
}

/**
 * A page of creators, and the key of its last one when there are more. By keyset: every page costs the same, and rows that arrive
 * neither repeat nor hide others. Followers are those at `asOfMs`: whoever was scraped since then stands where the number
 * before that scrape puts them, so that nobody moves over the edge of a page while it is turned.
 */
export async function creatorsPage(
  engine: Engine,
  options: CreatorsOptions,
): Promise<{ readonly items: readonly CreatorItem[]; readonly next: Place['key'] | null }> {
  const { filter, sort, limit, asOfMs, after } = options
  const order = ORDERS[sort]
  const withRate = sort === '-engagement_rate' || filter.engagement_min !== undefined
  const wanted = new Set(options.fields)
  const params: Record<string, unknown> = {
    unsure_from: sqlTime(asOfMs - ON_ITS_WAY_MS).slice(0, 19),
    limit: limit + 1,
  }
  const conditions = conditionsOf(filter, params)
  if (after !== undefined) conditions.push(beyond(order, after, params))
  const by = order.by === null ? '' : `${order.by} ${order.descending ? 'DESC' : 'ASC'}, `
  const columns = [
    'platform',
    'creator_id',
    ...['name', 'handle', 'biography', 'verified', 'gone', 'flags'].filter((name) =>
      wanted.has(name as Field),
    ),
  ]
  const rows = await ask<Row>(
    engine,
    {
      sql: `SELECT ${columns.join(', ')}, shown, ${withRate ? 'rate' : `${UNKNOWN} AS rate`}, toUnixTimestamp64Milli(ts) AS ts_ms
FROM (
  SELECT *, ifNull(if(observed_at > {unsure_from:DateTime('UTC')} AND followers_before_ts > 0, followers_before, followers), ${UNKNOWN}) AS shown
  FROM creators FINAL${filter.platform === undefined ? '' : ' WHERE platform = {platform:String}'}
) AS c
${withRate ? RATES : ''}
${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`}
ORDER BY ${by}platform, creator_id
LIMIT {limit:UInt32}`,
      params,
    },
    options,
  )
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  const rates =
    wanted.has('engagement_rate') && !withRate
      ? await ratesOf(engine, page, options)
      : new Map<string, number>()
  return {
    items: page.map((row) =>
      itemOf(row, wanted, withRate ? known(row.rate) : (rates.get(keyOf(row)) ?? null)),
    ),
    next:
      rows.length > limit && last !== undefined
        ? [
            ...(order.by === null ? [] : [Number(last[order.by as 'shown' | 'rate'])]),
            last.platform,
            last.creator_id,
          ]
        : null,
  }
}

interface Row {
  readonly platform: string
  readonly creator_id: string
  readonly shown: number
  readonly rate: number
  readonly ts_ms: number | string
  readonly name?: string
  readonly handle?: string
  readonly biography?: string
  readonly verified?: boolean
  readonly gone?: boolean
  readonly flags?: readonly string[]
}

const RATES = `LEFT ANY JOIN (
  SELECT platform AS e_platform, creator_id AS e_creator, toNullable(rate) AS known_rate FROM creators_engagement FINAL
) AS e ON e.e_platform = c.platform AND e.e_creator = c.creator_id
ARRAY JOIN [ifNull(known_rate, ${UNKNOWN})] AS rate`

function conditionsOf(filter: CreatorFilter, params: Record<string, unknown>): string[] {
  const { platform, followers_min, followers_max, engagement_min, verified, q, flag } = filter
  const conditions: string[] = []
  const bind = (name: string, value: unknown, condition: string) => {
    if (value === undefined) return
    params[name] = value
    conditions.push(condition)
  }
  if (platform !== undefined) params.platform = platform
  bind('followers_min', followers_min, 'shown >= {followers_min:Float64}')
  bind('followers_max', followers_max, `shown <= {followers_max:Float64} AND shown > ${UNKNOWN}`)
  bind('engagement_min', engagement_min, 'rate >= {engagement_min:Float64}')
  bind('verified', verified, 'verified = {verified:Bool}')
  bind('flag', flag, 'has(flags, {flag:String})')
  bind(
    'q',
    q,
    '(positionCaseInsensitiveUTF8(name, {q:String}) > 0 OR positionCaseInsensitiveUTF8(biography, {q:String}) > 0 OR positionCaseInsensitiveUTF8(handle, {q:String}) > 0)',
  )
  return conditions
}

/** Everything behind the last row of the page before. */
function beyond(
  { by, descending }: (typeof ORDERS)[Sort],
  { key }: Place,
  params: Record<string, unknown>,
): string {
  const [id, platform, number] = [...key].reverse()
  Object.assign(params, { after_platform: platform, after_id: id })
  const tie = '(platform, creator_id) > ({after_platform:String}, {after_id:String})'
  if (by === null) return tie
  params.after = number
  return `(${by} ${descending ? '<' : '>'} {after:Float64} OR (${by} = {after:Float64} AND ${tie}))`
}

/** Of a page's creators, by key: the list's own query then needs no join. */
async function ratesOf(
  engine: Engine,
  rows: readonly Row[],
  options: AskOptions,
): Promise<Map<string, number>> {
  if (rows.length === 0) return new Map()
  const found = await ask<{ platform: string; creator_id: string; rate: number }>(
    engine,
    {
      sql: `SELECT platform, creator_id, rate FROM creators_engagement FINAL
WHERE platform IN {platforms:Array(String)} AND creator_id IN {ids:Array(String)}`,
      params: {
        platforms: [...new Set(rows.map((row) => row.platform))],
        ids: [...new Set(rows.map((row) => row.creator_id))],
      },
    },
    options,
  )
  return new Map(found.map((row) => [keyOf(row), row.rate]))
}

function keyOf({ platform, creator_id }: { platform: string; creator_id: string }): string {
  return `${platform}:${creator_id}`
}

function itemOf(row: Row, wanted: ReadonlySet<Field>, rate: number | null): CreatorItem {
  const { platform, creator_id, name, handle, biography, verified, gone, flags } = row
  const values: Record<Field, unknown> = {
    ...{ name, handle, biography, verified, gone, flags },
    followers: known(row.shown),
    engagement_rate: rate,
    ts: momentOf(row.ts_ms),
  }
  const chosen = FIELDS.filter((field) => wanted.has(field)).map((field) => [field, values[field]])
  return { platform, creator_id, ...Object.fromEntries(chosen) }
}

const known = (number: number) => (number === UNKNOWN ? null : number)
