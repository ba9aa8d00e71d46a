import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import type { Row } from '../../src/job/row.ts'
import { type Engine, select } from '../../src/timeseries/engine.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, point, startSink } from './support.ts'

const PAGE = await readFile(new URL('../../docs/schema.md', import.meta.url), 'utf8')

/** Two weeks of two YouTube channels and a TikTok account, one of which fell; some jobs failed, some were late. */
async function fill(
  engine: Engine,
  write: (rows: ReturnType<typeof jobRows>) => Promise<void>,
): Promise<void> {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS
  for (const [creatorId, platform, first, step] of [
    ['@mkbhd', 'youtube', 1_000, 10],
    ['other', 'youtube', 500, -30],
    ['third', 'tiktok', 100, 1],
  ] as const) {
    const jobs = Array.from({ length: 15 }, (_, day) => {
      const fell = creatorId === 'third' && day === 14
      const rows: Row[] = [
        point('followers', fell ? 1 : first + step * day),
        point('engagement_rate', 0.01 * day),
        {
          ...{
            table: 'creators',
            name: creatorId,
            handle: creatorId,
            biography: '',
            verified: false,
            gone: false,
          },
          ...{ flags: [], email: '', pictureUrl: '' },
        },
        {
          table: 'media',
          mediaId: 'v1',
          kind: 'video',
          title: 'Review',
          url: '',
          publishedAtMs: today - 30 * DAY_MS,
        },
        { table: 'media_points', mediaId: 'v1', metric: 'likes', value: day },
        { table: 'media_points', mediaId: 'v1', metric: 'views', value: 10 * day },
        {
          ...{
            table: 'pictures',
            subject: 'avatar',
            variant: 'thumb',
            key: 'pictures/ab/ab/thumb.jpg',
            sourceUrl: '',
          },
          ...{ sha256: 'ab', width: 150, height: 150, bytes: 4_000, thumbhash: 'x' },
        },
        { table: 'jobs', jobType: 'profile', status: 'done', reason: '', attempts: 1, durationMs: 900 },
      ]
      const tsMs = day === 14 ? Date.now() - 60_000 : today - (14 - day) * DAY_MS
      return jobRows(`${creatorId}-${day}`, rows, {
        platform,
        creatorId,
        tsMs,
        observedAtMs: tsMs + day * 20_000,
      })
    })
    await Promise.all(jobs.map(write))
  }
  const dead: Row = {
    table: 'jobs',
    jobType: 'profile',
    status: 'dead',
    reason: 'timeout',
    attempts: 3,
    durationMs: 90_000,
  }
  await write(jobRows('job-1', [dead], { tsMs: Date.now() - 3_600_000 }))
  await refreshViews(engine)
}

describe('docs/schema.md', () => {
  test('names every column of every table with its type, and no other', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    await startSink(t, engine)
    const columns = await select<{ table: string; name: string; type: string }>(
      engine,
      `SELECT table, name, type FROM system.columns WHERE database = {database:String} ORDER BY table, position`,
      { database: engine.database },
    )
    const views = await select<{ name: string }>(
      engine,
      `SELECT name FROM system.tables WHERE database = {database:String} AND engine = 'MaterializedView'
        AND create_table_query LIKE '% TO %'`,
      { database: engine.database },
    )
    const fillers = new Set(views.map(({ name }) => name))
    const there = columns
      .filter(({ table }) => !table.startsWith('.') && !fillers.has(table))
      .map(({ table, name, type }) => `${table}.${name} ${type}`)
    const told = PAGE.split(/^### /m)
      .slice(1)
      .flatMap((section) => {
        const [, table] = /^`(\w+)`\n/.exec(section) ?? []
        const rows = [...section.matchAll(/^\| `(\w+)` \| (.+?) \| .*\|$/gm)]
        return table === undefined ? [] : rows.map(([, name, type]) => `${table}.${name} ${type}`)
      })
    assert.deepEqual(told.toSorted(), there.toSorted())

    const [, filling = ''] = /### Views that fill tables\n(.*?)\n## /s.exec(PAGE) ?? []
    const toldViews = [...filling.matchAll(/^\| `(\w+)` \| .* \| `(\w+)` \| .*\|$/gm)]
    assert.deepEqual(toldViews.map(([, view]) => view).toSorted(), [...fillers].toSorted())
    for (const [, view, target] of toldViews) {
      const of = (table: string | undefined) =>
        columns.filter((column) => column.table === table).map(({ name }) => name)
      const beyond = of(view).filter((name) => !of(target).includes(name))
      assert.deepEqual(beyond, [], `${view} fills ${target}`)
    }
  })

  test('has queries that all answer with rows', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 20 })
    await fill(engine, (rows) => sink.write(rows, never))
    const queries = [...PAGE.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql ?? '')
    assert.ok(queries.length >= 12)
    for (const sql of queries) {
      const result = await engine.read.query({ query: sql, format: 'JSONEachRow' })
      const rows = await result.json()
      assert.ok(rows.length > 0, `no rows:\n${sql}`)
    }
  })
})
