import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Row } from '../../src/job/row.ts'
import { type Engine, execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { migrate } from '../../src/timeseries/migrate.ts'
import { refreshViews, rowCounts } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, point, START_MS, startSink } from './support.ts'

interface Version {
  readonly creator: number
  readonly metric: number
  readonly tsMs: number
  readonly version: number
  readonly value: number
}

const HOUR_MS = 3_600_000

/** Some snapshots over the last days, each with up to three versions, of which later ones may be lower. */
const snapshots = fc
  .uniqueArray(
    fc.record({
      creator: fc.nat(3),
      metric: fc.nat(1),
      tsMs: fc
        .nat(5 * 24)
        .map((hour) => Math.floor(Date.now() / DAY_MS) * DAY_MS - 5 * DAY_MS + hour * HOUR_MS + 123),
      values: fc.array(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 1, maxLength: 3 }),
    }),
    {
      minLength: 20,
      maxLength: 120,
      selector: ({ creator, metric, tsMs }) => `${creator} ${metric} ${tsMs}`,
    },
  )
  .map((all) =>
    all.flatMap(({ values, ...snapshot }): Version[] => {
      return values.map((value, index) => ({ ...snapshot, version: index + 1, value }))
    }),
  )

/** Everything three times, in any order, cut into inserts of any size. */
const arrivals = snapshots.chain((versions) => {
  const thrice = [...versions, ...versions, ...versions]
  const order = fc.shuffledSubarray(thrice, { minLength: thrice.length, maxLength: thrice.length })
  return fc.record({ versions: fc.constant(versions), order, batchRows: fc.integer({ min: 7, max: 60 }) })
})

async function insertVersions(engine: Engine, versions: readonly Version[]): Promise<void> {
  const byMonth = Map.groupBy(versions, (row) => sqlTime(row.tsMs).slice(0, 7))
  for (const rows of byMonth.values()) {
    const lines = rows.map((row) =>
      JSON.stringify([
        sqlTime(row.tsMs),
        'tiktok',
        `m${row.metric}`,
        `c${row.creator}`,
        row.value,
        row.version,
      ]),
    )
    const into =
      'INSERT INTO points (ts, platform, metric, creator_id, value, version) SETTINGS async_insert = 0'
    await execute(engine, `${into} FORMAT JSONCompactEachRow\n${lines.join('\n')}`)
  }
}

/** What each table must read as, had every row arrived once, the newest version last. */
function expected(versions: readonly Version[]) {
  const newest = new Map<string, Version>()
  for (const row of versions) {
    const key = `c${row.creator} m${row.metric} ${sqlTime(row.tsMs)}`
    if ((newest.get(key)?.version ?? 0) < row.version) newest.set(key, row)
  }
  const daily = new Map<string, Version>()
  for (const row of newest.values()) {
    const key = `c${row.creator} m${row.metric} ${sqlTime(row.tsMs).slice(0, 10)}`
    if ((daily.get(key)?.tsMs ?? 0) < row.tsMs) daily.set(key, row)
  }
  const totals = new Map<string, number>()
  for (const row of daily.values()) {
    const key = `m${row.metric} ${sqlTime(row.tsMs).slice(0, 10)}`
    totals.set(key, (totals.get(key) ?? 0) + row.value)
  }
  const growth = new Map<string, number>()
  for (const days of Map.groupBy(daily.values(), (row) => `c${row.creator} m${row.metric}`).values()) {
    const inOrder = days.toSorted((a, b) => a.tsMs - b.tsMs)
    const [first, last] = [inOrder[0]!, inOrder.at(-1)!]
    if (first !== last) growth.set(`c${first.creator} m${first.metric}`, last.value - first.value)
  }
  const values = (rows: Map<string, Version>) =>
    Object.fromEntries([...rows].map(([key, row]) => [key, row.value]))
  return {
    points: values(newest),
    points_daily: values(daily),
    platform_daily: Object.fromEntries(totals),
    growth_7d: Object.fromEntries(growth),
  }
}

const READS = {
  points: `SELECT concat(creator_id, ' ', metric, ' ', toString(ts)) AS key, value FROM points FINAL`,
  points_daily: `SELECT concat(creator_id, ' ', metric, ' ', toString(day)) AS key, value FROM points_daily FINAL`,
  platform_daily: `SELECT concat(metric, ' ', toString(day)) AS key, total AS value FROM platform_daily`,
  growth_7d: `SELECT concat(creator_id, ' ', metric) AS key, absolute AS value FROM growth_7d`,
}

async function actual(engine: Engine) {
  await refreshViews(engine)
  const tables = await Promise.all(
    Object.entries(READS).map(async ([table, sql]) => {
      const rows = await select<{ key: string; value: number }>(engine, sql)
      const entries = rows.map(({ key, value }) => [key, value] as const)
      assert.equal(new Set(entries.map(([key]) => key)).size, entries.length, `${table} repeats a key`)
      return [table, Object.fromEntries(entries)] as const
    }),
  )
  return Object.fromEntries(tables)
}

describe('replays', () => {
  test('numbers that arrive three times in any order, corrected in between, read as if they had come once', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    await migrate(engine)
    await fc.assert(
      fc.asyncProperty(arrivals, async ({ versions, order, batchRows }) => {
        for (const table of ['points', 'points_daily']) await execute(engine, `TRUNCATE TABLE ${table}`)
        for (let from = 0; from < order.length; from += batchRows) {
          await insertVersions(engine, order.slice(from, from + batchRows))
        }
        assert.deepEqual(await actual(engine), expected(versions))
      }),
      // A counter-example would be shrunk against the engine for minutes.
      { numRuns: 8, endOnFailure: true },
    )
  })

  test('jobs that are repeated through the sink leave each row once, and older ones never cover newer facts', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 10, rowsMax: 40 })
    const jobs = Array.from({ length: 30 }, (_, n) => {
      const day = n % 5
      const facts = {
        handle: '',
        biography: '',
        verified: false,
        gone: false,
        flags: [],
        email: '',
        pictureUrl: '',
      }
      const size = { width: 1, height: 1, bytes: 1, thumbhash: '' }
      const rows: Row[] = [
        point('followers', n),
        { table: 'creators', name: `day ${day}`, ...facts },
        { table: 'media', mediaId: 'm', kind: '', title: `day ${day}`, url: '', publishedAtMs: 0 },
        { table: 'media_points', mediaId: 'm', metric: 'likes', value: n },
        {
          table: 'pictures',
          subject: 'avatar',
          variant: 'w',
          key: `day ${day}`,
          sourceUrl: '',
          sha256: '',
          ...size,
        },
        { table: 'jobs', jobType: 'profile', status: 'done', reason: '', attempts: 1, durationMs: 1 },
      ]
      return jobRows(`j${n}`, rows, { creatorId: `c${Math.floor(n / 5)}`, tsMs: START_MS + day * DAY_MS })
    })
    for (let round = 0; round < 3; round += 1) {
      const shuffled = fc.sample(fc.shuffledSubarray(jobs, { minLength: jobs.length }), 1)[0] ?? []
      await Promise.all(shuffled.map((job) => sink.write(job, never)))
    }
    const counts = { points: 30, creators: 6, media: 6, media_points: 30, pictures: 6, jobs: 30 }
    assert.deepEqual(await rowCounts(engine), counts)
    for (const [table, column] of [
      ['creators', 'name'],
      ['media', 'title'],
      ['pictures', 'key'],
    ] as const) {
      const newest = await select<{ fact: string }>(
        engine,
        `SELECT DISTINCT ${column} AS fact FROM ${table} FINAL`,
      )
      assert.deepEqual(newest, [{ fact: 'day 4' }], table)
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
