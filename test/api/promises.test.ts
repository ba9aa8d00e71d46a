import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { Engine } from '../../src/timeseries/engine.ts'
import { select } from '../../src/timeseries/engine.ts'
import { need } from '../need.ts'
import { startRedis } from '../services/redis.ts'
import { until } from '../until.ts'
import { DAY_MS, openFilled, resultOf, START_MS, startApi } from './support.ts'

interface Page {
  readonly as_of: string
  readonly items: readonly { readonly creator_id: string; readonly followers: number }[]
  readonly next_cursor: string | null
}

/** The same engine, which tells how often it was asked. */
function counted(engine: Engine): { readonly engine: Engine; readonly asked: () => number } {
  let asked = 0
  const read = new Proxy(engine.read, {
    get(client, name) {
      const value: unknown = Reflect.get(client, name)
      if (name === 'query') asked++
      return typeof value === 'function' ? value.bind(client) : value
    },
  })
  const { name, database, write } = engine
  const same = {
    name,
    database,
    write,
    read,
    open: () => engine.open(),
    ping: () => engine.ping(),
    close: async () => {},
  }
  return { engine: same, asked: () => asked }
}

const snapshots = (count: number) =>
  Array.from({ length: count }, (_, n) => ({
    creatorId: `c${String(n).padStart(4, '0')}`,
    followers: 10_000 - n * 10,
  }))

describe('what must hold', () => {
  test('of the API over one database', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    const redis = need(t, 'redis')
    if (clickhouse === null || redis === null) return
    const { engine, write } = await openFilled(t, clickhouse, snapshots(100))
    const shared = { redis: { url: redis, key_prefix: `test-${randomUUID()}` } }

    await t.test(
      '100 identical cold requests are one query, and a scrape makes the answer new everywhere',
      async (t) => {
        // An answer that has grown old meanwhile, or a window that has ended, would be another count.
        const patient = { ...shared, api: { cache: { refresh: '5m' }, rate: { requests: 100_000 } } }
        const one = counted(engine)
        const two = counted(engine)
        const first = await startApi(t, one.engine, patient)
        const second = await startApi(t, two.engine, patient)
        const path = '/v1/creators/instagram/c0001'
        const replies = await Promise.all(Array.from({ length: 100 }, () => first.get(path)))
        const bodies = new Set(await Promise.all(replies.map((reply) => reply.text())))
        assert.deepEqual([replies.filter(({ status }) => status === 200).length, bodies.size], [100, 1])
        // A creator is three questions: facts and pictures, then the numbers.
        assert.equal(one.asked(), 3)
        const list = await Promise.all(
          Array.from({ length: 100 }, () => first.get('/v1/creators?fields=followers')),
        )
        for (const reply of list) assert.equal(reply.status, 200, await reply.text())
        assert.equal(one.asked(), 4)
        t.diagnostic('200 requests, 2 cold routes: 4 questions to the database')

        await until(async () => {
          const reply = await second.get(path)
          await reply.text()
          return reply.headers.get('x-cache') === 'hit'
        }, 'the other process has the answer from Redis')
        const before = two.asked()
        assert.ok(before === 0 || before === 3)

        await write([{ creatorId: 'c0001', followers: 77, tsMs: START_MS + DAY_MS }])
        first.onResult(resultOf({ creator_id: '@C0001' }))
        for (const api of [first, second]) {
          await until(async () => {
            const { numbers } = await api.json<{ numbers: { followers: number } }>(path)
            return numbers.followers === 77
          }, 'the number of the new snapshot')
        }
      },
    )

    await t.test('pages skip and repeat nobody while rows arrive', async (t) => {
      const { json } = await startApi(t, engine)
      const { items, next_cursor } = await json<Page>('/v1/creators?limit=200')
      const expected = items.map((item) => item.creator_id)
      assert.deepEqual([expected.length, next_cursor], [100, null])

      const seen: string[] = []
      let next: string | null = null
      let pages = 0
      do {
        const cursor: string = next === null ? '' : `&cursor=${next}`
        const page: Page = await json<Page>(`/v1/creators?limit=10${cursor}`)
        seen.push(...page.items.map((item) => item.creator_id))
        next = page.next_cursor
        // New ones between all others, and everybody scraped once more: who was last comes first, and the other way round.
        const nowMs = Date.now()
        const again = snapshots(100).filter((_, n) => n % 10 === pages)
        await write([
          ...Array.from({ length: 5 }, (_, n) => ({
            creatorId: `new${pages}-${n}`,
            followers: 9_000 + pages * 97 + n,
          })),
          ...again.map(({ creatorId, followers }) => ({
            ...{ creatorId, followers: 19_000 - followers, tsMs: nowMs, observedAtMs: nowMs },
          })),
        ])
        pages++
      } while (next !== null)
      const old = seen.filter((id) => id.startsWith('c'))
      assert.equal(new Set(seen).size, seen.length, 'nobody twice')
      assert.deepEqual(old, expected, 'everybody once, in the order of the beginning')
      t.diagnostic(
        `${pages} pages, ${seen.length} creators, ${seen.length - old.length} of them new on the way`,
      )
    })

    await t.test('a cursor is good for its own list alone', async (t) => {
      const { json, get } = await startApi(t, engine)
      const { next_cursor } = await json<Page>('/v1/creators?limit=2')
      const cursor = next_cursor ?? ''
      const flipped = cursor.replace(/^./, (first) => (first === 'W' ? 'X' : 'W'))
      for (const query of [
        `sort=followers&cursor=${cursor}`,
        `platform=instagram&cursor=${cursor}`,
        `verified=true&cursor=${cursor}`,
        `cursor=${flipped}`,
        // Of the last one only two bits count: one before it.
        `cursor=${cursor.replace(/.(?=.$)/, (one) => (one === 'A' ? 'B' : 'A'))}`,
      ]) {
        const reply = await get(`/v1/creators?${query}`)
        assert.deepEqual(
          [query, reply.status, ((await reply.json()) as { code: string }).code],
          [query, 400, 'cursor_invalid'],
        )
      }
      const media = await get(`/v1/creators/instagram/c0001/media?cursor=${cursor}`)
      assert.equal(media.status, 400)
      await media.text()
      assert.equal((await json<Page>(`/v1/creators?limit=7&cursor=${cursor}`)).items.length, 7)
    })

    await t.test('a client has its share of requests and of running queries, and is told so', async (t) => {
      // Lists take as long as this says, so that the three of them meet.
      const held = Promise.withResolvers<void>()
      const slow = new Proxy(engine.read, {
        get: (client, name) =>
          name === 'query'
            ? async (asked: Parameters<typeof client.query>[0]) => {
                if (asked.query.includes(' AS shown')) await held.promise
                return await client.query(asked)
              }
            : Reflect.get(client, name),
      })
      const { get } = await startApi(
        t,
        { ...counted(engine).engine, read: slow },
        {
          ...{ redis: { ...shared.redis, key_prefix: `test-${randomUUID()}` } },
          api: { rate: { requests: 5 }, queries_max: 1 },
        },
      )
      const codes: number[] = []
      for (let n = 0; n < 6; n++) {
        const reply = await get('/v1/dashboard')
        codes.push(reply.status)
        if (reply.status === 429) {
          assert.match(reply.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
          assert.match(reply.headers.get('ratelimit') ?? '', /^"requests";r=0;t=\d+$/)
          assert.equal(reply.headers.get('ratelimit-policy'), '"requests";q=5;w=60')
        }
        await reply.text()
      }
      assert.deepEqual(codes, [200, 200, 200, 200, 200, 429])
      let refused = 0
      const states = await Promise.all(
        [1, 2, 3].map(async (n) => {
          const reply = await get(`/v1/creators?limit=${n}`)
          if (reply.status === 429 && ++refused === 2) held.resolve()
          return [reply.status, ((await reply.json()) as { code?: string }).code]
        }),
      )
      assert.deepEqual(states.sort(), [
        [200, undefined],
        [429, 'too_many_queries'],
        [429, 'too_many_queries'],
      ])
    })

    await t.test('a query ends when its client has left', async (t) => {
      const running = async () => {
        const rows = await select(
          engine,
          "SELECT 1 FROM system.processes WHERE query LIKE '%system.numbers%' AND query NOT LIKE '%system.processes%' AND current_database = {database:String}",
          { database: engine.database },
        )
        return rows.length
      }
      // A list that would take for ever stands in for the real one.
      const endless = new Proxy(engine.read, {
        get: (client, name) =>
          name === 'query'
            ? (asked: Parameters<typeof client.query>[0]) =>
                client.query({
                  ...asked,
                  query: 'SELECT count() FROM system.numbers SETTINGS max_execution_time = 60',
                })
            : Reflect.get(client, name),
      })
      const { url } = await startApi(t, { ...counted(engine).engine, read: endless })
      const leaving = new AbortController()
      const left = fetch(`${url}/v1/creators?limit=9`, { signal: leaving.signal }).then(
        (reply) => reply.status,
        () => 'left',
      )
      await until(async () => (await running()) === 1, 'the query runs')
      leaving.abort()
      assert.equal(await left, 'left')
      const sinceMs = performance.now()
      await until(async () => (await running()) === 0, 'the query has ended')
      t.diagnostic(`ended ${Math.round(performance.now() - sinceMs)} ms after its client`)
    })
  })

  test('Redis may go in the middle of a load: it costs speed, not correctness', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    if (clickhouse === null) return
    const redis = await startRedis()
    t.after(() => redis.stop())
    const { engine, write } = await openFilled(t, clickhouse, snapshots(5))
    const { get, json, onResult } = await startApi(t, engine, {
      redis: { url: redis.address },
      api: { cache: { refresh: '50ms' }, rate: { requests: 100_000 }, queries_max: 100 },
    })
    const codes = new Map<number, number>()
    let loading = true
    const users = Array.from({ length: 5 }, async (_, user) => {
      for (let n = 0; loading; n++) {
        const reply = await get(`/v1/creators/instagram/c${String((n + user) % 5).padStart(4, '0')}`)
        const { creator_id } = (await reply.json()) as { creator_id?: string }
        assert.equal(typeof creator_id, 'string')
        codes.set(reply.status, (codes.get(reply.status) ?? 0) + 1)
      }
    })
    const answered = () => codes.get(200) ?? 0
    await until(() => answered() > 50, 'a load')
    await redis.kill()
    const atKill = answered()
    await until(() => answered() > atKill + 50, 'answers without Redis')
    // Nobody hears of this scrape while Redis is away, and still its number is there soon.
    await write([{ creatorId: 'c0003', followers: 5, tsMs: START_MS + DAY_MS }])
    onResult(resultOf({ creator_id: 'c0003' }))
    await until(async () => {
      const { numbers } = await json<{ numbers: { followers: number } }>('/v1/creators/instagram/c0003')
      return numbers.followers === 5
    }, 'the new number')
    await redis.restart()
    const atRestart = answered()
    await until(() => answered() > atRestart + 50, 'answers with Redis again')
    loading = false
    await Promise.all(users)
    assert.deepEqual([...codes.keys()], [200])
    t.diagnostic(
      `${answered()} answers, all of them 200: ${atKill} before, ${atRestart - atKill} without Redis`,
    )
  })
})
