import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { DAY_MS, openFilled, START_MS, startApi } from './support.ts'

const DAYS = [0, 1, 2, 4]

/** Twelve creators on two platforms, seen on four of five days; `c3` is verified, says so, and is flagged. */
async function fill(t: Parameters<typeof openFilled>[0], url: string) {
  return await openFilled(
    t,
    url,
    Array.from({ length: 12 }, (_, n) => n).flatMap((n) =>
      DAYS.map((day) => ({
        platform: n % 2 === 0 ? 'instagram' : 'tiktok',
        creatorId: `c${n}`,
        tsMs: START_MS + day * DAY_MS + 3_600_000,
        followers: 1_000 * (n + 1) + day * (n - 3),
        engagement: n / 100,
        ...(n === 3
          ? { facts: { verified: true, biography: "It's 100% % _ \\ 🎈 Tea", flags: ['odd'] } }
          : {}),
        rows: [
          {
            ...({ table: 'media', kind: 'image', title: 'Post', url: 'https://example.com/p' } as const),
            mediaId: `m${day}`,
            publishedAtMs: START_MS + day * DAY_MS,
          },
          { table: 'media_points', mediaId: `m${day}`, metric: 'likes', value: day * 10 } as const,
        ],
      })),
    ),
  )
}

interface Page {
  readonly items: readonly Record<string, unknown>[]
  readonly next_cursor: string | null
}

describe('the routes', () => {
  test('read what the daemon wrote', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    if (clickhouse === null) return
    const { engine } = await fill(t, clickhouse)
    await refreshViews(engine)
    const { json, get } = await startApi(t, engine)

    await t.test('a list, filtered, sorted, with the fields that were asked for', async () => {
      const ids = async (query: string) =>
        (await json<Page>(`/v1/creators?${query}`)).items.map((item) => item.creator_id)
      assert.deepEqual(await ids('limit=3'), ['c11', 'c10', 'c9'])
      assert.deepEqual(await ids('sort=followers&limit=2&platform=tiktok'), ['c1', 'c3'])
      assert.deepEqual(await ids('sort=creator_id&limit=3'), ['c0', 'c10', 'c2'])
      assert.deepEqual(await ids('sort=-engagement_rate&limit=2'), ['c11', 'c10'])
      assert.deepEqual(await ids('followers_min=5000&followers_max=6100'), ['c5', 'c4'])
      assert.deepEqual(await ids('engagement_min=0.1'), ['c11', 'c10'])
      assert.deepEqual(await ids('verified=true'), ['c3'])
      assert.deepEqual(await ids('flag=odd'), ['c3'])
      assert.deepEqual(await ids(`q=${encodeURIComponent("it's 100% % _ \\ 🎈 tEA")}`), ['c3'])
      assert.deepEqual(await ids('q=%25'), ['c3'])
      const { items } = await json<Page>('/v1/creators?flag=odd&fields=biography,followers,engagement_rate')
      assert.deepEqual(items, [
        {
          platform: 'tiktok',
          creator_id: 'c3',
          biography: "It's 100% % _ \\ 🎈 Tea",
          followers: 4000,
          engagement_rate: 0.03,
        },
      ])
    })

    await t.test('one creator with numbers, however its id is written', async () => {
      const found = await json<Record<string, unknown>>('/v1/creators/tiktok/@C3')
      assert.equal(found.creator_id, 'c3')
      assert.deepEqual(found.numbers, { engagement_rate: 0.03, followers: 4000 })
      assert.equal(found.ts, new Date(START_MS + 4 * DAY_MS + 3_600_000).toISOString())
      assert.equal(found.observed_at, null)
      assert.equal(found.followers_before, 4000)
      assert.equal((await get('/v1/creators/tiktok/nobody')).status, 404)
    })

    await t.test('a history in which a gap is a gap', async () => {
      const from = new Date(START_MS).toISOString()
      const to = new Date(START_MS + 5 * DAY_MS).toISOString()
      const path = `/v1/creators/instagram/c4/history?from=${from}&to=${to}`
      const { points } = await json<{ points: { at: string; value: number | null }[] }>(path)
      assert.deepEqual(
        points.map(({ at, value }) => [(Date.parse(at) - START_MS) / DAY_MS, value]),
        [
          [0, 5000],
          [1, 5001],
          [2, 5002],
          [3, null],
          [4, 5004],
        ],
      )
      const hours = await json<{ points: unknown[] }>(`${path}&step=hour`)
      assert.equal(hours.points.length, 120)
      const weeks = await json<{ points: { at: string }[] }>(`${path}&step=week`)
      for (const { at } of weeks.points) assert.equal(new Date(at).getUTCDay(), 1, 'a week begins on Monday')
    })

    await t.test('posts with their newest numbers, by cursor', async () => {
      const first = await json<Page>('/v1/creators/instagram/c4/media?limit=3')
      assert.deepEqual(
        first.items.map((item) => [item.media_id, item.numbers]),
        [
          ['m4', { likes: 40 }],
          ['m2', { likes: 20 }],
          ['m1', { likes: 10 }],
        ],
      )
      const second = await json<Page>(`/v1/creators/instagram/c4/media?limit=3&cursor=${first.next_cursor}`)
      assert.deepEqual([second.items.length, second.items[0]?.media_id, second.next_cursor], [1, 'm0', null])
    })

    await t.test('who grows fastest, and the overview', async () => {
      for (const window of ['7d', '30d']) {
        const { items } = await json<Page>(`/v1/trending?window=${window}&limit=2`)
        assert.deepEqual(
          items.map((item) => [item.creator_id, item.name, item.absolute]),
          [
            ['c11', 'Name of c11', 32],
            ['c10', 'Name of c10', 28],
          ],
        )
      }
      const board = await json<Record<string, Record<string, unknown>[]>>('/v1/dashboard')
      assert.deepEqual(
        board.platforms?.map((one) => [one.platform, one.creators, one.flagged]),
        [
          ['instagram', 6, 0],
          ['tiktok', 6, 1],
        ],
      )
      assert.deepEqual(
        board.falling?.map((one) => [one.creator_id, one.absolute]),
        [
          ['c0', -12],
          ['c1', -8],
          ['c2', -4],
        ],
      )
      assert.equal(board.daily?.length, 8)
    })

    await t.test('everything as NDJSON, CSV and Parquet', async () => {
      const lines = (await (await get('/v1/export?what=points&metric=followers')).text()).trim().split('\n')
      assert.equal(lines.length, 48)
      // In no order.
      const times = lines.map((line) => (JSON.parse(line) as { ts: string }).ts).sort()
      assert.equal(times[0], new Date(START_MS + 3_600_000).toISOString())
      const csv = (await (await get('/v1/export?what=creators&format=csv&platform=tiktok')).text())
        .trim()
        .split('\n')
      assert.equal(csv.length, 7)
      assert.match(csv[0]!, /^"platform","creator_id","name"/)
      const parquet = Buffer.from(await (await get('/v1/export?what=daily&format=parquet')).arrayBuffer())
      assert.equal(parquet.subarray(0, 4).toString() + parquet.subarray(-4).toString(), 'PAR1PAR1')
    })
  })

  test('follow the conventions: ETag, compression, ids, problems, methods', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    if (clickhouse === null) return
    const { engine } = await fill(t, clickhouse)
    const { get, url } = await startApi(t, engine)

    const first = await get('/v1/creators', { 'x-request-id': 'mine-1' })
    const etag = first.headers.get('etag') ?? ''
    assert.equal(first.headers.get('x-request-id'), 'mine-1')
    assert.equal(first.headers.get('content-encoding'), 'gzip')
    assert.equal(first.headers.get('cache-control'), 'private, no-cache')
    assert.match(first.headers.get('ratelimit') ?? '', /^"requests";r=599;t=\d+$/)
    await first.text()
    const again = await get('/v1/creators', { 'if-none-match': etag })
    assert.equal(again.status, 304)
    assert.equal(await again.text(), '')
    const plain = await get('/v1/creators', { 'accept-encoding': 'identity' })
    assert.equal(plain.headers.get('content-encoding'), null)
    await plain.text()

    const wrong = [
      ['/v1/creators?limit=0', 400, 'invalid_request'],
      ['/v1/creators?limit=', 400, 'invalid_request'],
      ['/v1/creators?limit=1e1', 400, 'invalid_request'],
      ['/v1/creators?limit=5&limit=6', 400, 'invalid_request'],
      ['/v1/creators?nothing=1', 400, 'invalid_request'],
      ['/v1/creators?q=%00', 400, 'invalid_request'],
      ['/v1/creators?cursor=abc', 400, 'invalid_request'],
      [`/v1/creators?cursor=abc.${'A'.repeat(22)}`, 400, 'cursor_invalid'],
      ['/v1/creators/instagram/%E0%A4%A', 400, 'invalid_request'],
      [`/v1/creators/instagram/${'x'.repeat(201)}`, 400, 'invalid_request'],
      [
        '/v1/creators/instagram/a/history?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z',
        400,
        'invalid_request',
      ],
      ['/v1/creators/instagram/a/history?step=hour&from=2020-01-01T00:00:00Z', 400, 'invalid_request'],
      ['/nothing', 404, 'not_found'],
    ] as const
    for (const [path, status, code] of wrong) {
      const reply = await get(path)
      const problem = (await reply.json()) as Record<string, unknown>
      assert.deepEqual([path, reply.status, problem.code], [path, status, code])
      assert.equal(reply.headers.get('content-type'), 'application/problem+json; charset=utf-8')
      assert.equal(problem.instance, reply.headers.get('x-request-id'))
    }
    const deleted = await fetch(`${url}/v1/creators`, { method: 'DELETE' })
    assert.deepEqual([deleted.status, deleted.headers.get('allow')], [405, 'GET, HEAD'])
    await deleted.text()
    const foreign = await get('/v1/dashboard', { origin: 'https://evil.example' })
    assert.equal(foreign.status, 403)
    await foreign.text()

    const document = (await (await get('/openapi.json')).json()) as {
      openapi: string
      paths: object
      components: { schemas: object }
    }
    assert.equal(document.openapi, '3.1.0')
    assert.deepEqual(Object.keys(document.paths).sort(), [
      '/healthz',
      '/readyz',
      '/v1/creators',
      '/v1/creators/{platform}/{id}',
      '/v1/creators/{platform}/{id}/history',
      '/v1/creators/{platform}/{id}/media',
      '/v1/dashboard',
      '/v1/export',
      '/v1/scrapes',
      '/v1/scrapes/{job_id}',
      '/v1/stream',
      '/v1/trending',
    ])
    assert.ok(!('MillraceConfig' in document.components.schemas))
    const docs = await (await get('/docs')).text()
    for (const word of ['listCreators', 'followers_min', 'rate_limited', 'next_cursor'])
      assert.ok(docs.includes(word), word)
    await until(async () => (await get('/readyz')).status === 200)
  })
})
