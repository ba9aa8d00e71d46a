import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Row } from '../../src/job/row.ts'
import { execute, select } from '../../src/timeseries/engine.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { fillDisk, freeDisk, NOT_ENOUGH_SPACE } from './full-disk.ts'
import { count, jobRows, never, openOwnDatabase, point, START_MS, startSink } from './support.ts'

const ROWS_A_JOB = 3
/** More creators than the buffer holds rows. */
const JOBS = 150
const CREATOR: Row = {
  ...{ table: 'creators', name: '', handle: '', biography: '', verified: false, gone: false },
  ...{ flags: [], email: '', pictureUrl: '' },
}

/** Whichever table is the one that finds no room: the one inserted into, or one behind it that a view fills. */
const FULL = ['points', 'points_daily', 'days_written', 'creators']

test('a disk without room acknowledges nothing and makes writers wait; with room again every row is there once', async (t) => {
  const url = need(t, 'clickhouse')
  if (url === null) return
  const engine = await openOwnDatabase(t, url)
  const limits = { rowsMax: 30, ageMs: 5, bufferRowsMax: 120, backoffMsMin: 5, backoffMsMax: 50 }
  const { sink, metrics } = await startSink(t, engine, limits)
  let begun = 0
  let acknowledged = 0
  const write = async () => {
    const n = begun
    begun += 1
    const rows = [point('followers', n), point('engagement_rate', n / 1e6), CREATOR]
    await sink.write(jobRows(`j${n}`, rows, { tsMs: START_MS + n }), never)
    acknowledged += 1
  }
  const refused = async () => {
    const text = await metrics.registry.metrics()
    return Number(
      /^millrace_row_flush_duration_seconds_count\{outcome="error"\} (\d+)$/m.exec(text)?.[1] ?? 0,
    )
  }
  await write()
  for (const table of FULL) {
    await fillDisk(engine, [table])
    const before = { acknowledged, refused: await refused() }
    const writes = Array.from({ length: JOBS }, write)
    // Again and again: it is not given up, and what others may store makes room until all that is held waits for this table.
    await until(async () => (await refused()) >= before.refused + 8, 'inserts are repeated')
    await until(() => sink.bufferedRows > limits.bufferRowsMax - ROWS_A_JOB, 'as much is held as may be')
    assert.equal(sink.healthy, false)
    assert.equal(acknowledged, before.acknowledged, `nothing is acknowledged while ${table} finds no room`)
    await freeDisk(engine, [table])
    await Promise.all(writes)
    assert.equal(sink.healthy, true)
  }

  assert.equal(acknowledged, begun)
  for (const [from, rows] of [
    ['points', 2 * begun],
    ['points_daily', 2 * begun],
    ['creators', begun],
    ['creators_engagement', begun],
  ] as const)
    assert.equal(await count(engine, `${from} FINAL`), rows, from)
  const wrong = await select(
    engine,
    `SELECT creator_id FROM points FINAL WHERE metric = 'followers'
      AND (creator_id, value) NOT IN (SELECT creator_id, followers FROM creators FINAL)`,
  )
  assert.deepEqual(wrong, [])
  await refreshViews(engine)
  const [total] = await select(engine, `SELECT creators FROM platform_daily WHERE metric = 'followers'`)
  assert.deepEqual(total, { creators: begun })
})

test('what stands for a full disk here fails with the code that a full disk has', async (t) => {
  const url = need(t, 'clickhouse')
  if (url === null) return
  const engine = await openOwnDatabase(t, url)
  await execute(engine, 'CREATE TABLE numbers (n UInt8) ENGINE = MergeTree ORDER BY n')
  await fillDisk(engine)
  await assert.rejects(execute(engine, 'INSERT INTO numbers VALUES (1)'), {
    ...{ code: 'CLICKHOUSE_FAILED', message: NOT_ENOUGH_SPACE },
  })
  await freeDisk(engine)
  await execute(engine, 'INSERT INTO numbers VALUES (1)')
})
