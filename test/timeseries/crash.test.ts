import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { select } from '../../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../../src/timeseries/row-sink.ts'
import { need } from '../need.ts'
import { startClickhouse } from '../services/clickhouse.ts'
import { until } from '../until.ts'
import { count, jobRows, never, point, START_MS, silent } from './support.ts'

const KILLS = 4
const ROWS_A_JOB = 50

describe('a server', () => {
  test('killed mid-insert, again and again, costs no acknowledged row and leaves none twice', async (t) => {
    // A server of its own: the shared one must not be killed. Skipped where no server can be had at all.
    if (need(t, 'clickhouse') === null) return
    const server = await startClickhouse()
    const engine = new ClickHouseEngine({ url: server.address, database: 'millrace' })
    const limits = { rowsMax: 2_000, ageMs: 20, bufferRowsMax: 12_000, backoffMsMin: 10, backoffMsMax: 200 }
    const sink = new TimeSeriesSink({
      engine,
      metrics: createMetrics(),
      log: silent,
      limits,
      keepEngineOpen: true,
    })
    const stopWriting = new AbortController()
    t.after(async () => {
      stopWriting.abort()
      await server.stop()
      await engine.close()
    })
    await sink.start()

    let acknowledged = 0
    let begun = 0
    let bufferedMax = 0
    /** Writes jobs one after another until told to stop; what it has begun it finishes. */
    const writer = async () => {
      while (!stopWriting.signal.aborted) {
        const n = begun
        begun += 1
        const rows = Array.from({ length: ROWS_A_JOB }, (_, metric) => point(`m${metric}`, n))
        await sink.write(jobRows(`j${n}`, rows, { tsMs: START_MS + n }), never)
        bufferedMax = Math.max(bufferedMax, sink.bufferedRows)
        acknowledged += 1
      }
    }
    const writing = Array.from({ length: 300 }, writer)

    for (let kill = 1; kill <= KILLS; kill += 1) {
      const before = acknowledged
      await until(() => acknowledged > before + 100, 'rows flow')
      // At another moment of the cycle each time; buffered rows mean that inserts are on their way.
      await sleep(kill * 7)
      await until(() => sink.bufferedRows > 0, 'an insert is on its way')
      await server.kill()
      await until(() => !sink.healthy, 'the loss is noticed')
      const atLoss = acknowledged
      await server.restart()
      await until(() => sink.healthy && acknowledged > atLoss, 'rows flow again')
    }
    stopWriting.abort()
    await Promise.all(writing)
    await sink.stop()

    assert.equal(acknowledged, begun)
    assert.equal(await count(engine, 'points FINAL'), begun * ROWS_A_JOB)
    // Of an insert that was cut off nobody knows whether it is stored, so it comes again: FINAL is the promise.
    t.diagnostic(`${begun} jobs; rows stored twice: ${(await count(engine, 'points')) - begun * ROWS_A_JOB}`)
    assert.ok(bufferedMax <= limits.bufferRowsMax, `${bufferedMax} rows buffered`)
    // The roll-up is fed by the same inserts; it must not have missed the ones that were cut off.
    const missed = await select(
      engine,
      `SELECT creator_id, metric FROM points FINAL
      WHERE (creator_id, metric, value) NOT IN (SELECT creator_id, metric, value FROM points_daily FINAL) LIMIT 3`,
    )
    assert.deepEqual(missed, [])
  })

  test('standing still makes writers wait instead of filling memory, and goes on by itself', async (t) => {
    if (need(t, 'clickhouse') === null) return
    const server = await startClickhouse()
    const engine = new ClickHouseEngine({ url: server.address, database: 'millrace' })
    const limits = { rowsMax: 500, ageMs: 20, bufferRowsMax: 2_000 }
    const sink = new TimeSeriesSink({
      ...{ engine, metrics: createMetrics(), log: silent },
      ...{ limits, keepEngineOpen: true },
    })
    t.after(async () => {
      await server.thaw()
      await sink.stop()
      await server.stop()
      await engine.close()
    })
    await sink.start()
    const writeJob = (n: number) => {
      const rows = Array.from({ length: ROWS_A_JOB }, (_, metric) => point(`m${metric}`, n))
      return sink.write(jobRows(`j${n}`, rows, { tsMs: START_MS + n }), never)
    }
    await writeJob(0)

    await server.freeze()
    let acknowledged = 1
    const writes = Array.from({ length: 400 }, (_, n) => writeJob(n + 1).then(() => (acknowledged += 1)))
    // The room is full at once, and stays so for many times as long as an insert takes.
    await sleep(500)
    assert.equal(sink.bufferedRows, limits.bufferRowsMax)
    assert.equal(acknowledged, 1)
    await server.thaw()
    await Promise.all(writes)
    await sink.stop()
    assert.equal(await count(engine, 'points FINAL'), 401 * ROWS_A_JOB)
    assert.equal(sink.bufferedRows, 0)
  })
})
