import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { Row } from '../../src/job/row.ts'
import { execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { migrate, readMigrations } from '../../src/timeseries/migrate.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { count, DAY_MS, jobRows, never, openOwnDatabase, point, START_MS, startSink } from './support.ts'

const MIGRATIONS = await readMigrations()
/** `points_daily` is filled from the migration on that makes its view. */
const DAILY_SINCE = 4
/** `creators_engagement` likewise. */
const RATES_SINCE = 8
const DAY = (day: number) => sqlTime(START_MS + (day + 14) * DAY_MS)

/** Rows as a daemon of that time inserted them: twice, with a correction and an older snapshot that comes last. */
const OLD_ROWS = {
  points: `(ts, platform, metric, creator_id, value, version) VALUES
    ('${DAY(0)}', 'youtube', 'followers', 'a', 10, 1), ('${DAY(1)}', 'youtube', 'followers', 'a', 20, 1),
    ('${DAY(1)}', 'youtube', 'followers', 'a', 15, 2), ('${DAY(0)}', 'youtube', 'followers', 'b', 5, 1),
    ('${DAY(0)}', 'youtube', 'engagement_rate', 'a', 0.02, 1), ('${DAY(1)}', 'youtube', 'engagement_rate', 'a', 0.05, 1),
    ('${DAY(1)}', 'youtube', 'engagement_rate', 'a', 0.04, 2), ('${DAY(-34)}', 'youtube', 'engagement_rate', 'b', 0.09, 1)`,
  media_points: `(ts, platform, creator_id, media_id, metric, value, version) VALUES
    ('${DAY(0)}', 'youtube', 'a', 'm', 'likes', 1, 1), ('${DAY(0)}', 'youtube', 'a', 'm', 'likes', 2, 2)`,
  creators: `(ts, platform, creator_id, name) VALUES ('${DAY(1)}', 'youtube', 'a', 'newer'), ('${DAY(0)}', 'youtube', 'a', 'older')`,
  media: `(ts, platform, creator_id, media_id, title) VALUES ('${DAY(0)}', 'youtube', 'a', 'm', 'T')`,
  pictures: `(ts, platform, creator_id, subject, variant, key) VALUES ('${DAY(0)}', 'youtube', 'a', 'avatar', 'full', 'k')`,
  jobs: `(ts, platform, creator_id, job_id, status, observed_at) VALUES
    ('${DAY(0)}', 'youtube', 'a', 'j', 'dead', '${DAY(0)}'), ('${DAY(0)}', 'youtube', 'a', 'j', 'done', '${DAY(1)}')`,
} as const

const READS = {
  points: `SELECT creator_id, value FROM points FINAL WHERE metric = 'followers' ORDER BY creator_id, ts`,
  media_points: 'SELECT value FROM media_points FINAL',
  creators: 'SELECT name, followers FROM creators FINAL',
  media: 'SELECT title FROM media FINAL',
  pictures: 'SELECT key FROM pictures FINAL',
  jobs: 'SELECT status FROM jobs FINAL',
} as const

const EXPECTED: Readonly<Record<keyof typeof READS, unknown>> = {
  points: [
    { creator_id: 'a', value: 10 },
    { creator_id: 'a', value: 15 },
    { creator_id: 'b', value: 5 },
  ],
  media_points: [{ value: 2 }],
  creators: [{ name: 'newer', followers: null }],
  media: [{ title: 'T' }],
  pictures: [{ key: 'k' }],
  jobs: [{ status: 'done' }],
}

async function upgrade(t: TestContext, version: number): Promise<void> {
  const url = need(t, 'clickhouse')
  if (url === null) return
  const engine = await openOwnDatabase(t, url)
  await migrate(engine, { migrations: MIGRATIONS.slice(0, version) })
  const there = new Set((await select<{ name: string }>(engine, 'SHOW TABLES')).map(({ name }) => name))
  const tables = (Object.keys(OLD_ROWS) as (keyof typeof OLD_ROWS)[]).filter((table) => there.has(table))
  for (const table of tables) {
    const insert = `INSERT INTO ${table} ${OLD_ROWS[table]}`
    await execute(engine, insert)
    await execute(engine, insert)
  }

  const { sink } = await startSink(t, engine, { ageMs: 1 })
  for (const table of tables) assert.deepEqual(await select(engine, READS[table]), EXPECTED[table], table)
  await refreshViews(engine)
  if (version >= DAILY_SINCE) {
    const daily = await select(
      engine,
      `SELECT value FROM points_daily FINAL WHERE metric = 'followers' ORDER BY creator_id, day`,
    )
    assert.deepEqual(daily, [{ value: 10 }, { value: 15 }, { value: 5 }])
    const followers = `WHERE metric = 'followers'`
    assert.deepEqual(await select(engine, `SELECT total FROM platform_daily ${followers} ORDER BY day`), [
      { total: 15 },
      { total: 15 },
    ])
    assert.deepEqual(await select(engine, `SELECT creator_id, absolute FROM growth_7d ${followers}`), [
      { creator_id: 'a', absolute: 5 },
    ])
    // Filled from five weeks of days, and from then on by what is inserted.
    const rates = [
      { creator_id: 'a', rate: 0.04 },
      ...(version < RATES_SINCE ? [] : [{ creator_id: 'b', rate: 0.09 }]),
    ]
    const newest = 'SELECT creator_id, rate FROM creators_engagement FINAL ORDER BY creator_id'
    assert.deepEqual(await select(engine, newest), rates)
  }

  // It is written on: a job that was there comes again with another number, and the next snapshot follows.
  const facts = {
    handle: '',
    biography: '',
    verified: false,
    gone: false,
    flags: [],
    email: '',
    pictureUrl: '',
  }
  const rows: Row[] = [point('followers', 7), { table: 'creators', name: 'newest', ...facts }]
  for (const day of [1, 2]) {
    const tsMs = START_MS + (day + 14) * DAY_MS
    await sink.write(jobRows(`j${day}`, rows, { platform: 'youtube', creatorId: 'b', tsMs }), never)
  }
  const ofB = `points FINAL WHERE creator_id = 'b' AND metric = 'followers'`
  assert.equal(await count(engine, ofB), tables.includes('points') ? 3 : 2)
  assert.deepEqual(
    await select(engine, `SELECT name, followers_before FROM creators FINAL WHERE creator_id = 'b'`),
    [{ name: 'newest', followers_before: 7 }],
  )
}

describe('a database of an older version, with rows in it, is read exactly and written on by this one', {
  concurrency: true,
}, () => {
  for (const { version, file } of MIGRATIONS) {
    test(`of version ${version}, ${file}`, (t) => upgrade(t, version))
  }
})
