import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row } from '../../src/job/row.ts'
import { RowsRejectedError } from '../../src/job/row.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { execute, select } from '../../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../../src/timeseries/row-sink.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { count, jobRows, never, openOwnDatabase, point, START_MS, silent, startSink } from './support.ts'

describe('the row sink', () => {
  test('resolves a write only when its rows can be read', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink, metrics } = await startSink(t, engine, { ageMs: 20 })
    await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        await sink.write(jobRows(`j${n}`, [point('followers', n), point('posts', 1)]), never)
        assert.equal(await count(engine, `points WHERE job_id = 'j${n}'`), 2)
      }),
    )
    assert.match(await metrics.registry.metrics(), /^millrace_rows_written_total\{table="points"\} 40$/m)
    assert.equal(sink.bufferedRows, 0)
  })

  test('stores what it was given, with both times', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    const tsMs = START_MS + 123
    const creator: Row = {
      table: 'creators',
      name: 'Zoë "Z" 😀',
      handle: 'zoë',
      biography: "it's\n\\back\tslash {x:String} \u0000 -- ; 'q'",
      verified: true,
      gone: false,
      flags: ['suspicious_engagement', "o'ne"],
      email: 'z@example.org',
      pictureUrl: 'https://example.org/?a=1&b=2',
    }
    await sink.write(
      jobRows('j1', [point('rate', 0.1 + 0.2), creator], { tsMs, observedAtMs: tsMs + 61_000 }),
      never,
    )
    const at = new Date(tsMs).toISOString().replace('T', ' ').slice(0, 23)
    const observed = new Date(tsMs + 61_000).toISOString().replace('T', ' ').slice(0, 19)
    assert.deepEqual(await select(engine, 'SELECT * FROM points'), [
      {
        ts: at,
        platform: 'instagram',
        metric: 'rate',
        creator_id: 'creator-j1',
        value: 0.1 + 0.2,
        version: 1,
        job_id: 'j1',
        observed_at: observed,
      },
    ])
    const { table, pictureUrl, ...facts } = creator
    assert.deepEqual(
      await select(engine, `SELECT * EXCEPT (ts, version, job_id, observed_at) FROM ${table}`),
      [
        {
          ...{ platform: 'instagram', creator_id: 'creator-j1', ...facts, picture_url: pictureUrl },
          ...{ followers: null, followers_before: null, followers_before_ts: '1970-01-01 00:00:00.000' },
        },
      ],
    )
  })

  test('rejects exactly the write whose row the engine refuses, and writes the rest', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 30 })
    await execute(engine, 'ALTER TABLE points ADD CONSTRAINT sane CHECK value < 1000000')
    const guilty = new Set([3, 57, 58])
    const writes = Array.from({ length: 100 }, (_, n) => {
      // Two ways to be refused: by the parser, half a surrogate pair; by a constraint.
      if (n === 3) return sink.write(jobRows('j3', [point('followers', 1), point('cut\ud83d', 1)]), never)
      return sink.write(jobRows(`j${n}`, [point('followers', guilty.has(n) ? 5e6 : n)]), never)
    })
    const ends = await Promise.allSettled(writes)
    for (const [n, end] of ends.entries()) {
      assert.equal(end.status, guilty.has(n) ? 'rejected' : 'fulfilled', `job ${n}`)
      if (end.status === 'rejected') assert.ok(end.reason instanceof RowsRejectedError)
    }
    assert.match(String((ends[57] as PromiseRejectedResult).reason), /for points: .*sane/)
    assert.equal(await count(engine, 'points FINAL'), 97)
    assert.equal(sink.healthy, true)
  })

  test('refuses before the engine what the engine would store as something else', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine)
    await assert.rejects(sink.write(jobRows('j', [point('followers', Number.NaN)]), never), RowsRejectedError)
    assert.equal(sink.bufferedRows, 0)
  })

  test('waits while the engine cannot take rows, is unhealthy, and goes on by itself', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 1, backoffMsMin: 5, backoffMsMax: 20 })
    await execute(engine, 'RENAME TABLE points TO points_away')
    const write = sink.write(jobRows('j1', [point('followers', 1)]), never)
    await until(() => !sink.healthy, 'the sink says that inserts fail')
    await execute(engine, 'RENAME TABLE points_away TO points')
    await write
    assert.equal(sink.healthy, true)
    assert.equal(await count(engine, 'points'), 1)
  })

  test('flushes what it holds when it stops, then closes the engine; both ends may be called twice', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const reader = await openOwnDatabase(t, url)
    const engine = new ClickHouseEngine({ url, database: reader.database })
    const sink = new TimeSeriesSink({ engine, metrics: createMetrics(), log: silent, stopTimeoutMs: 50_000 })
    await Promise.all([sink.start(), sink.start()])
    const write = sink.write(jobRows('j1', [point('followers', 1)]), never)
    await Promise.all([sink.stop(), sink.stop(), write])
    assert.equal(await count(reader, 'points'), 1)
    assert.throws(() => engine.read, /not open/)
    await assert.rejects(sink.write(jobRows('j2', [point('followers', 1)]), never), { name: 'AbortError' })
  })

  test('says in one line that the server is away, and can be started again', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    // Nobody listens on port 1.
    const engine = new ClickHouseEngine({ url: 'http://127.0.0.1:1', database: 'millrace' })
    const sink = new TimeSeriesSink({ engine, metrics: createMetrics(), log: silent })
    const away = {
      code: 'SERVICE_AWAY',
      kind: 'service_away',
      message: /got no answer from ClickHouse: .*ECONNREFUSED/,
    }
    await assert.rejects(sink.start(), away)
    await assert.rejects(sink.start(), away)
    await sink.stop()
  })

  test('says in one line that the credentials are refused', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = new ClickHouseEngine({ url, database: 'default', username: 'nobody', password: 'wrong' })
    await assert.rejects(engine.open(), { code: 'CLICKHOUSE_REFUSED', kind: 'failed' })
  })

  test('refuses options that cannot be right', () => {
    const usage = { kind: 'usage' }
    assert.throws(() => new ClickHouseEngine({ url: 'localhost:8123', database: 'millrace' }), usage)
    assert.throws(() => new ClickHouseEngine({ url: 'http://localhost', database: 'x; DROP' }), usage)
  })
})
