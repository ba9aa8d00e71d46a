import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { select } from '../../src/timeseries/engine.ts'
import { fastestGrowing, history, rowCounts, totalsByPlatform } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, point, START_MS, startSink } from './support.ts'

/** Three creators, four days: `a` 100 → 103, `b` 1,000 → 1,015, `c` (on another platform) 10 → 40; `d` is seen once. */
async function fill(t: Parameters<typeof openOwnDatabase>[0], url: string) {
  const engine = await openOwnDatabase(t, url)
  const { sink } = await startSink(t, engine, { ageMs: 5 })
  const creators = [
    ['a', 'instagram', 100, 1],
    ['b', 'instagram', 1_000, 5],
    ['c', 'tiktok', 10, 10],
  ] as const
  const writes = creators.flatMap(([creatorId, platform, first, step]) =>
    [0, 1, 2, 3].map((day) => {
      const facts = {
        handle: creatorId,
        biography: '',
        verified: false,
        gone: false,
        flags: [],
        email: '',
        pictureUrl: '',
      }
      const rows = [
        point('followers', first + step * day),
        { table: 'creators', name: `Name of ${creatorId}`, ...facts } as const,
      ]
      return sink.write(
        jobRows(`${creatorId}${day}`, rows, { platform, creatorId, tsMs: START_MS + day * DAY_MS + 7 }),
        never,
      )
    }),
  )
  writes.push(
    sink.write(jobRows('d', [point('followers', 5)], { platform: 'tiktok', creatorId: 'd' }), never),
  )
  await Promise.all(writes)
  return engine
}

describe('queries', () => {
  test('find who grew fastest over a window, absolutely and relatively, from either table', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await fill(t, url)
    const window = { metric: 'followers', fromMs: START_MS, toMs: START_MS + 4 * DAY_MS }
    for (const source of ['points', 'points_daily'] as const) {
      const absolute = await fastestGrowing(engine, { ...window, by: 'absolute', source })
      assert.deepEqual(
        absolute.map(({ creatorId, absolute: growth }) => [creatorId, growth]),
        [
          ['c', 30],
          ['b', 15],
          ['a', 3],
        ],
      )
      const relative = await fastestGrowing(engine, {
        ...window,
        by: 'relative',
        source,
        platform: 'instagram',
        limit: 1,
      })
      const at = source === 'points' ? 7 : 0
      assert.deepEqual(relative, [
        {
          platform: 'instagram',
          creatorId: 'a',
          name: 'Name of a',
          handle: 'a',
          fromMs: START_MS + at,
          toMs: START_MS + 3 * DAY_MS + at,
          first: 100,
          last: 103,
          absolute: 3,
          relative: 0.03,
        },
      ])
    }
    const inside = {
      ...window,
      fromMs: START_MS + DAY_MS,
      toMs: START_MS + 2 * DAY_MS + 7,
      by: 'absolute',
      valueMin: 100,
    } as const
    const part = await fastestGrowing(engine, inside)
    assert.deepEqual(
      part.map((row) => [row.creatorId, row.first, row.last]),
      [
        ['b', 1_005, 1_010],
        ['a', 101, 102],
      ],
    )
  })

  test('sum the newest number of each creator by platform', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await fill(t, url)
    assert.deepEqual(await totalsByPlatform(engine, 'followers'), [
      { platform: 'instagram', creators: 2, total: 1_118, newestMs: START_MS + 3 * DAY_MS + 7 },
      { platform: 'tiktok', creators: 2, total: 45, newestMs: START_MS + 3 * DAY_MS + 7 },
    ])
    assert.deepEqual(await totalsByPlatform(engine, 'nothing'), [])
  })

  test('tell the history of one number, oldest first, inside the window', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await fill(t, url)
    const fromMs = START_MS + DAY_MS + 7
    const one = { platform: 'tiktok', creatorId: 'c', metric: 'followers', fromMs, toMs: fromMs + DAY_MS }
    // `observed_at` is kept to the second.
    assert.deepEqual(await history(engine, one), [
      { tsMs: fromMs, observedAtMs: START_MS + DAY_MS + 1_000, value: 20 },
      { tsMs: fromMs + DAY_MS, observedAtMs: START_MS + 2 * DAY_MS + 1_000, value: 30 },
    ])
    assert.deepEqual(await history(engine, { ...one, fromMs: fromMs + 1, toMs: fromMs + 2 }), [])
  })

  test('count the rows of each table as readers see them', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await fill(t, url)
    assert.deepEqual(await rowCounts(engine), {
      points: 13,
      creators: 3,
      media: 0,
      media_points: 0,
      pictures: 0,
      jobs: 0,
    })
  })

  test('take values as values, whatever they contain', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await fill(t, url)
    for (const evil of ["' OR 1 = 1 --", '\\', '{x:String}', "a\n\t'b\\'"]) {
      const window = { fromMs: 0, toMs: START_MS + 9 * DAY_MS }
      assert.deepEqual(
        await history(engine, { platform: evil, creatorId: evil, metric: evil, ...window }),
        [],
      )
      assert.deepEqual(
        await fastestGrowing(engine, { metric: evil, platform: evil, by: 'absolute', ...window }),
        [],
      )
      assert.deepEqual(await select(engine, 'SELECT {v:String} AS v', { v: evil }), [{ v: evil }])
    }
  })

  test('give up by themselves after their time, and at once when aborted', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const forever = 'SELECT sum(sleepEachRow(0.1)) FROM numbers(1000)'
    await assert.rejects(select(engine, forever, {}, { executionTimeS: 1, settings: 'max_block_size = 1' }), {
      code: 'CLICKHOUSE_FAILED',
      message: /code 159/,
    })
    const controller = new AbortController()
    const aborted = select(engine, forever, {}, { signal: controller.signal, settings: 'max_block_size = 1' })
    controller.abort()
    await assert.rejects(aborted, { name: 'AbortError' })
  })
})
