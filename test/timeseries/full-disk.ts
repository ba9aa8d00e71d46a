import { type Engine, execute, select } from '../../src/timeseries/engine.ts'

const NO_ROOM = 'min_free_disk_bytes_to_perform_insert'

/** What ClickHouse calls it when an insert finds no room on the disk: NOT_ENOUGH_SPACE. */
export const NOT_ENOUGH_SPACE = /code 243/

/**
 * Makes the engine find its disk full whenever somebody inserts into one of `tables`, by default all of the database: they ask for an
 * exabyte that is free. It fails at the same place and with the same code as on a disk that has run full.
 */
export async function fillDisk(engine: Engine, tables?: readonly string[]): Promise<void> {
  for (const table of tables ?? (await storedTables(engine)))
    await execute(engine, `ALTER TABLE ${table} MODIFY SETTING ${NO_ROOM} = 1000000000000000000`)
}

/** Ends what `fillDisk` began. */
export async function freeDisk(engine: Engine, tables?: readonly string[]): Promise<void> {
  for (const table of tables ?? (await storedTables(engine)))
    await execute(engine, `ALTER TABLE ${table} RESET SETTING ${NO_ROOM}`)
}

async function storedTables(engine: Engine): Promise<string[]> {
  const tables = await select<{ name: string }>(
    engine,
    `SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' AND name NOT LIKE '.%'`,
    { database: engine.database },
  )
  return tables.map(({ name }) => name)
}
