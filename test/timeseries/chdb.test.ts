import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RowsRejectedError } from '../../src/job/row.ts'
import { ChdbEngine } from '../../src/timeseries/chdb.ts'
import { execute, select } from '../../src/timeseries/engine.ts'
import { createInsert } from '../../src/timeseries/insert.ts'
import { migrate } from '../../src/timeseries/migrate.ts'
import {
  fastestGrowing,
  history,
  refreshViews,
  rowCounts,
  totalsByPlatform,
} from '../../src/timeseries/queries.ts'
import { count, DAY_MS, jobRows, never, point, START_MS, startSink } from './support.ts'

// The engine binds one folder per process, so all tests of this file share one and differ in their database.
describe('the embedded engine', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-chdb-'))
  })
  after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  const path = () => join(folder, 'data')

  test('says that the folder cannot be written', async () => {
    const file = join(folder, 'file')
    await writeFile(file, '')
    const engine = new ChdbEngine({ path: join(file, 'below'), database: 'millrace' })
    const message =
      /^The folder .*file\/below for the embedded engine cannot be written \(.*ENOTDIR.*set `data`/
    await assert.rejects(engine.open(), { code: 'CHDB_FOLDER', kind: 'failed', message })
  })

  test('says that another process uses the folder, and opens it once that one has ended', async (t) => {
    const holder = spawn(
      process.execPath,
      [fileURLToPath(new URL('chdb-holder.ts', import.meta.url)), path()],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    )
    t.after(() => holder.kill('SIGKILL'))
    await once(holder.stdout, 'data')
    const engine = new ChdbEngine({ path: path(), database: 'millrace' })
    await assert.rejects(engine.open(), {
      code: 'CHDB_FOLDER_IN_USE',
      kind: 'failed',
      message: new RegExp(`^Another process \\(pid ${holder.pid}\\) uses the folder`),
    })
    holder.stdin.end()
    await once(holder, 'exit')
    await engine.open()
    await engine.ping()
    await engine.close()
  })

  test('keeps the same contract as the server: batches, refusals, views, queries', async (t) => {
    const engine = new ChdbEngine({ path: path(), database: 'contract' })
    t.after(() => engine.close())
    const { sink } = await startSink(t, engine, { ageMs: 10 })
    assert.deepEqual(await migrate(engine), [])
    const job = (day: number, metric = 'followers') =>
      jobRows(`j${day}`, [point(metric, 100 + day * 10)], {
        creatorId: 'c',
        tsMs: START_MS + 15 * DAY_MS + day * DAY_MS + 123,
      })
    const writes = [0, 1, 2, 0, 1, 2].map((day) => sink.write(job(day), never))
    const bad = assert.rejects(sink.write(job(3, 'cut \ud83d'), never), RowsRejectedError)
    await Promise.all([...writes, bad])
    assert.equal((await rowCounts(engine)).points, 3)

    const window = { metric: 'followers', fromMs: START_MS, toMs: Date.now() }
    const [sample] = await history(engine, { ...window, platform: 'instagram', creatorId: 'c' })
    assert.deepEqual(sample?.tsMs, START_MS + 15 * DAY_MS + 123, 'milliseconds survive')
    for (const source of ['points', 'points_daily'] as const) {
      const [growth] = await fastestGrowing(engine, { ...window, by: 'relative', source })
      assert.deepEqual([growth?.creatorId, growth?.relative], ['c', 0.2])
    }
    assert.deepEqual((await totalsByPlatform(engine, 'followers'))[0]?.total, 120)

    // Refreshable views work inside a process too.
    await refreshViews(engine)
    assert.deepEqual(await select(engine, 'SELECT absolute FROM growth_7d'), [{ absolute: 20 }])
    assert.equal(await count(engine, 'platform_daily'), 3)
  })

  test('stores what is inserted again, and lets no setting outlive its statement', async (t) => {
    const engine = new ChdbEngine({ path: path(), database: 'again' })
    t.after(() => engine.close())
    await engine.open()
    await migrate(engine)
    await execute(engine, 'SYSTEM STOP MERGES points')
    const insert = createInsert(engine)
    const text = '["2026-11-21 00:00:00.000",1,"p","c","j","m",1]\n'
    const one = { table: 'points', rows: 1, text } as const
    assert.deepEqual(await insert(one, never), { status: 'stored' })
    assert.deepEqual(await insert(one, never), { status: 'stored' })
    // An engine that drops what it remembers would also drop what it has lost: the same rows are stored twice.
    assert.deepEqual([await count(engine, 'points'), await count(engine, 'points FINAL')], [2, 1])
    for (const client of [engine.write, engine.read]) {
      const result = await client.query({
        query: `SELECT name FROM system.settings WHERE changed AND name IN
          ('max_execution_time', 'async_insert', 'max_block_size')`,
        format: 'JSONEachRow',
      })
      assert.deepEqual(await result.json(), [])
    }
  })

  test('finds what an earlier process has stored', async () => {
    const engine = new ChdbEngine({ path: path(), database: 'contract' })
    await engine.open()
    assert.deepEqual(await migrate(engine), [])
    assert.equal((await rowCounts(engine)).points, 3)
    await engine.close()
    await engine.close()
  })
})
