import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { execute, select } from '../../src/timeseries/engine.ts'
import { migrate, parseMigration, readMigrations, schemaState } from '../../src/timeseries/migrate.ts'
import { refreshViews, rowCounts } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { count, openOwnDatabase } from './support.ts'

const CONTRACT = [
  ...['points', 'creators', 'media', 'media_points', 'pictures', 'jobs'],
  ...['points_daily', 'points_daily_mv', 'platform_daily', 'growth_7d', 'migrations'],
  ...['days_written', 'days_written_mv', 'platform_totals', 'platform_totals_mv'],
  ...['creators_in', 'creators_compared', 'creators_compared_mv', 'creators_mv', 'creators_late_mv'],
  ...['creators_engagement', 'creators_engagement_mv'],
]

describe('migrations', () => {
  test('every statement may be run again by anybody, at any time', async () => {
    for (const migration of await readMigrations()) {
      assert.ok(migration.statements.length > 0, migration.file)
      for (const statement of migration.statements) {
        const repeatable =
          /^(CREATE (TABLE|MATERIALIZED VIEW) IF NOT EXISTS|CREATE OR REPLACE VIEW|INSERT INTO (days_written|creators_engagement)|DROP (TABLE|VIEW) IF EXISTS|ALTER TABLE \w+ ((ADD|DROP) (COLUMN|INDEX) IF (NOT )?EXISTS|MODIFY (SETTING|QUERY|REFRESH)))\b/
        assert.match(statement, repeatable, migration.file)
      }
    }
  })

  test('splits at semicolons that end a line, drops comments, and ignores the kind of line end', () => {
    const unix = parseMigration(1, '0001_a.sql', "-- first; one\nSELECT ';x';\n\n  -- second\nSELECT 2;\n")
    const dos = parseMigration(
      1,
      '0001_a.sql',
      "-- first; one\r\nSELECT ';x';\r\n\r\n  -- second\r\nSELECT 2;\r\n",
    )
    assert.deepEqual(unix.statements, ["SELECT ';x'", 'SELECT 2'])
    assert.equal(unix.checksum, dos.checksum)
  })

  test('creates the tables of the contract once, and nothing the second time', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const files = (await readMigrations()).map((migration) => migration.file)
    assert.deepEqual((await schemaState(engine)).pending.length, files.length)
    assert.deepEqual(await migrate(engine), files)
    assert.deepEqual(await migrate(engine), [])
    const state = await schemaState(engine)
    assert.deepEqual([state.version, state.pending], [files.length, []])
    const tables = await select<{ name: string }>(engine, 'SHOW TABLES')
    // What stands behind a refreshed view begins with a dot: `.inner`, and while it is refreshed `.tmp`.
    const names = tables.map((table) => table.name).filter((name) => !name.startsWith('.'))
    assert.deepEqual(names.sort(), CONTRACT.toSorted())
    assert.equal((await rowCounts(engine)).points, 0)
  })

  test('ten daemons that start at once on nothing leave one schema', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const database = `test_${randomUUID().replaceAll('-', '')}`
    const engines = Array.from({ length: 10 }, () => new ClickHouseEngine({ url, database }))
    t.after(async () => {
      const [first] = engines
      if (first !== undefined) await execute(first, `DROP DATABASE IF EXISTS ${database} SYNC`)
      await Promise.all(engines.map((engine) => engine.close()))
    })
    await Promise.all(engines.map((engine) => engine.open()))
    await Promise.all(engines.map((engine) => migrate(engine)))
    const [engine] = engines
    assert.ok(engine)
    assert.equal(await count(engine, 'migrations FINAL'), (await readMigrations()).length)
    assert.deepEqual(await migrate(engine), [])
    // One table behind growth_7d, none behind what platform_daily was before: a race must not leave another.
    const inner = await count(engine, `system.tables WHERE database = '${database}' AND name LIKE '.inner%'`)
    assert.equal(inner, 1)
    const insert = `INSERT INTO points (ts, platform, metric, creator_id, value) VALUES (now64(3), 'p', 'm', 'c', 1)`
    await execute(engine, insert)
    await refreshViews(engine)
    assert.deepEqual(
      [await count(engine, 'points_daily FINAL'), await count(engine, 'platform_daily')],
      [1, 1],
    )
  })

  test('keeps data in place when a later migration comes', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const known = await readMigrations()
    await migrate(engine)
    await execute(engine, `INSERT INTO creators (platform, creator_id, ts) VALUES ('p', 'c', now64(3))`)
    const sql = 'ALTER TABLE creators ADD COLUMN IF NOT EXISTS country LowCardinality(String);'
    const next = parseMigration(known.length + 1, 'next.sql', sql)
    assert.deepEqual(await migrate(engine, { migrations: [...known, next] }), ['next.sql'])
    assert.equal(await count(engine, `creators FINAL WHERE country = ''`), 1)
  })

  test('refuses a file that was edited after it was applied', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const known = await readMigrations()
    await migrate(engine)
    const edited = known.with(1, { ...known[1]!, checksum: 'feed'.repeat(16) })
    await assert.rejects(migrate(engine, { migrations: edited }), {
      code: 'MIGRATION_EDITED',
      kind: 'failed',
      message: /0002_facts\.sql .* checksum .* feedfeedfeed/,
    })
  })

  test('refuses a schema that would lose rows, in one line', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    await migrate(engine)
    await execute(engine, 'DROP VIEW creators_mv')
    const message =
      /^Database test_\w+ has no creators_mv, .*run the statements of migrations\/0006_drops\.sql again/
    await assert.rejects(migrate(engine), { code: 'SCHEMA_INCOMPLETE', kind: 'failed', message })
    for (const sql of (await readMigrations())[5]!.statements) await execute(engine, sql)
    assert.deepEqual(await migrate(engine), [])
  })

  test('refuses a schema that is newer than the daemon, in one line', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const known = await readMigrations()
    await migrate(engine, {
      migrations: [...known, parseMigration(known.length + 1, 'next.sql', 'SELECT 1;')],
    })
    await assert.rejects(migrate(engine), {
      code: 'SCHEMA_NEWER',
      message: `The schema of database ${engine.database} is at version ${known.length + 1}, this millrace knows ${known.length} at most: run the newer millrace, or give this one another database.`,
    })
  })
})
