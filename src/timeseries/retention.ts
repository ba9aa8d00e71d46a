import type { Place } from './cluster.ts'
import { storedTable } from './cluster.ts'
import { type Engine, select } from './engine.ts'
import type { MigrateOptions, Step } from './migrate.ts'

/** How many days rows are kept after their `ts`. What is left out stays as the database has it. */
export interface Retention {
  /** `points` and `media_points`. Made with 400. */
  readonly points?: Kept | undefined
  /** `points_daily`. Made with forever. */
  readonly daily?: Kept | undefined
  /** `jobs`. Made with 30. */
  readonly jobs?: Kept | undefined
}

export type Kept = number | 'forever'

/** What the migrations make the tables with, and by which column of time a row grows old. */
const TABLES = [
  { table: 'points', of: 'points', at: 'toDateTime(ts)', made: 400, settings: '' },
  { table: 'media_points', of: 'points', at: 'toDateTime(ts)', made: 400, settings: '' },
  { table: 'points_daily', of: 'daily', at: 'day', made: 'forever', settings: 'ttl_only_drop_parts = 1, ' },
  { table: 'jobs', of: 'jobs', at: 'toDateTime(ts)', made: 30, settings: '' },
] as const

/** What has to be changed at the tables that are there, so that they keep rows as long as they should. */
export async function retentionSteps(engine: Engine, options: MigrateOptions): Promise<Step[]> {
  const { retention, signal } = options
  if (retention === undefined) return []
  const rows = await select<{ name: string; sql: string }>(
    engine,
    'SELECT name, create_table_query AS sql FROM system.tables WHERE database = {database:String}',
    { database: engine.database },
    { signal },
  )
  const created = new Map(rows.map(({ name, sql }) => [name, sql]))
  return stepsOf(engine, retention, (table) => {
    const sql = created.get(storedTable(engine, table)) ?? ''
    const days = /\bTTL \S+ \+ toIntervalDay\((\d+)\)/.exec(sql)?.[1]
    if (days !== undefined) return Number(days)
    // A TTL that somebody wrote in another way is none that we know.
    return / TTL /.test(sql) ? undefined : 'forever'
  })
}

/** The same for tables that the migrations have yet to make. */
export function retentionOfNew(place: Place, retention: Retention | undefined): Step[] {
  if (retention === undefined) return []
  return stepsOf(place, retention, (table) => TABLES.find((one) => one.table === table)?.made)
}

function stepsOf(place: Place, retention: Retention, keptNow: (table: string) => Kept | undefined): Step[] {
  const on = place.cluster === undefined ? '' : ` ON CLUSTER \`${place.cluster}\``
  const statements = TABLES.flatMap(({ table, of, at, settings }) => {
    const kept = retention[of]
    if (kept === undefined || kept === keptNow(table)) return []
    const alter = `ALTER TABLE ${storedTable(place, table)}${on}`
    if (kept === 'forever') return [`${alter} REMOVE TTL`]
    return [
      // The new age is written into the parts that are there, whose rows are not rewritten for it.
      `${alter} MODIFY SETTING ${settings}materialize_ttl_recalculate_only = 1`,
      `${alter} MODIFY TTL ${at} + INTERVAL ${kept} DAY`,
    ]
  })
  return statements.length === 0 ? [] : [{ name: 'retention', statements }]
}
