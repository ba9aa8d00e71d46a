import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Row } from '../../src/job/row.ts'
import { type Engine, execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { type Correction, caseOf, endingOf, expected, READS, type Reading, rowsOf } from './replays-model.ts'
import { jobRows, never, openOwnDatabase, point, START_MS, startSink } from './support.ts'

/** Cases of the property; by hand: `MILLRACE_REPLAY_CASES=500`. */
const CASES = Number(process.env.MILLRACE_REPLAY_CASES ?? 3)
/** The first case's; the others follow. Random, so that every run looks elsewhere; a failure names its own. */
const SEED = Number(process.env.MILLRACE_REPLAY_SEED ?? Math.floor(Math.random() * 0x7fff_0000))

/** As somebody at a console would, one insert for each table and month: the daemon writes version 1 only. */
async function correct(engine: Engine, prefix: string, corrections: readonly Correction[]): Promise<void> {
  const inserts = Map.groupBy(corrections, ({ of, table }) => `${table} ${sqlTime(of.tsMs).slice(0, 7)}`)
  for (const together of inserts.values()) {
    const { table } = together[0]!
    const [column, cells] = table === 'points' ? ['', ['views']] : [', media_id', ['likes', 'm']]
    const lines = together.map(({ of, version, value }) =>
      JSON.stringify([sqlTime(of.tsMs), prefix + of.platform, of.creator, version, value, ...cells]),
    )
    const into = `INSERT INTO ${table} (ts, platform, creator_id, version, value, metric${column})`
    await execute(
      engine,
      `${into} SETTINGS async_insert = 0 FORMAT JSONCompactEachRow\n${lines.join('\n')}\n`,
    )
  }
}

async function actual(engine: Engine, prefix: string): Promise<Reading> {
  await refreshViews(engine)
  const tables = Object.entries(READS).map(async ([table, sql]) => {
    const [selected, from] = sql.split(/ FROM /) as [string, string]
    const creator = table === 'platform_daily' ? '' : ', creator_id'
    const rows = await select<{ platform: string; creator_id?: string; k: string[]; row: Cells }>(
      engine,
      `${selected}, platform${creator} FROM ${from} WHERE startsWith(platform, {prefix:String})`,
      { prefix },
      { settings: 'output_format_json_named_tuples_as_objects = 0' },
    )
    const entries = rows.map(({ platform, creator_id, k, row }) => {
      const whose = [platform.slice(prefix.length), ...(creator_id === undefined ? [] : [creator_id])]
      return [[...whose, ...k].join(' '), row] as const
    })
    assert.equal(new Set(entries.map(([key]) => key)).size, entries.length, `${table} repeats a key`)
    return [table, Object.fromEntries(entries)] as const
  })
  return Object.fromEntries(await Promise.all(tables))
}

type Cells = Reading[string][string]

describe('replays', () => {
  // A case takes a second, and ten on a machine that is busy.
  const timeout = Math.max(3, CASES) * 60_000
  test('what arrives three times in any order, corrected in between, reads as if it had come once', {
    timeout,
  }, async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 2 })
    let arrived = 0
    for (let n = 0; n < CASES; n += 1) {
      const it = caseOf(SEED + n)
      const prefix = `${n}-`
      for (let from = 0; from < it.order.length; from += it.atOnce) {
        const some = it.order.slice(from, from + it.atOnce)
        const corrections: Correction[] = []
        const writes = some.map((arrival) => {
          if (arrival.kind === 'snapshot') return sink.write(rowsOf(prefix, arrival.it), never)
          if (arrival.kind === 'ending') return sink.write(endingOf(prefix, arrival.it), never)
          corrections.push(arrival.it)
          return undefined
        })
        await Promise.all([...writes, correct(engine, prefix, corrections)])
      }
      arrived += it.order.length
      assert.deepEqual(await actual(engine, prefix), expected(it), `MILLRACE_REPLAY_SEED=${SEED + n}`)
    }
    t.diagnostic(`${CASES} cases from seed ${SEED}, ${arrived} arrivals, 9 tables and views each: none wrong`)
  })

  test('of two different answers at one moment the one stored last counts, everywhere', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 60_000, rowsMax: 4 })
    const answer = (creatorId: string, value: number) =>
      sink.write(jobRows('j', [point('m', value)], { creatorId }), never)
    // In one insert, and in the one after it.
    await Promise.all([answer('a', 2), answer('a', 1), answer('b', 9), answer('c', 9)])
    await Promise.all([answer('b', 7), answer('b', 8), answer('c', 3), answer('c', 2)])
    for (const table of ['points', 'points_daily']) {
      const rows = await select(engine, `SELECT creator_id, value FROM ${table} FINAL ORDER BY creator_id`)
      const values = [1, 8, 2].map((value, index) => ({ creator_id: 'abc'[index], value }))
      assert.deepEqual(rows, values, table)
    }
  })

  test('a job that was dead and is replayed with success keeps the later outcome, in either order', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    const dead: Row = {
      table: 'jobs',
      jobType: 'profile',
      status: 'dead',
      reason: 'timeout',
      attempts: 3,
      durationMs: 1,
    }
    const done: Row = { ...dead, status: 'done', reason: '' }
    for (const [id, ...order] of [
      ['a', dead, done],
      ['b', done, dead],
    ] as const) {
      for (const row of order) {
        const observedAtMs = START_MS + (row === done ? 1_002 : 1_001)
        await sink.write(jobRows(id, [row], { observedAtMs }), never)
      }
    }
    const rows = await select(engine, 'SELECT job_id, status, reason FROM jobs FINAL ORDER BY job_id')
    assert.deepEqual(rows, [
      { job_id: 'a', status: 'done', reason: '' },
      { job_id: 'b', status: 'done', reason: '' },
    ])
  })
})
