import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { type Engine, execute } from '../../src/timeseries/engine.ts'
import { migrate } from '../../src/timeseries/migrate.ts'
import { need } from '../need.ts'
import { startClickhouse } from '../services/clickhouse.ts'
import { until } from '../until.ts'
import { startApi } from './support.ts'

/** 45 MB that hardly compress: more than lies in buffers on the way (twice at most 10 MB), in each format. */
const ROWS = 22_500
const TITLE_BYTES = 2_000
/** An engine that gives a query up when it has read 10 MB, long after its first rows have gone out: it reads no further than it writes. */
const POOR =
  'ch_max_bytes_to_read=10000000&ch_max_threads=1&ch_max_block_size=500&ch_output_format_parallel_formatting=0'

const CLIENTS = ['a', 'b', 'c'] as const
const keys = Object.fromEntries(
  CLIENTS.map((name) => [
    name,
    { role: 'viewer' as const, sha256: createHash('sha256').update(name).digest('hex') },
  ]),
)
const as = (name: (typeof CLIENTS)[number]) => ({ 'x-api-key': name })

async function open(t: TestContext, url: string): Promise<ClickHouseEngine> {
  const engine = new ClickHouseEngine({ url, database: 'exports' })
  t.after(() => engine.close())
  await engine.open()
  return engine
}

async function fill(engine: Engine): Promise<void> {
  await migrate(engine)
  await execute(
    engine,
    `INSERT INTO media (platform, creator_id, media_id, title, ts, observed_at)
     SELECT 'instagram', 'c', toString(number), randomPrintableASCII(${TITLE_BYTES}), now64(3, 'UTC') AS ts, ts FROM numbers(${ROWS})`,
  )
}

/** An export that has begun, and of which nothing more is read. */
async function begun(url: string, format: string, headers: Record<string, string>) {
  const asked = request(`${url}/v1/export?what=media&format=${format}`, { agent: false, headers })
  asked.end()
  const [reply] = (await once(asked, 'response')) as [IncomingMessage]
  assert.equal(reply.statusCode, 200)
  reply.on('error', () => {})
  await once(reply, 'readable')
  return reply
}

/** Reads the rest; says whether the client can take it for whole, and what came last. */
async function rest(reply: IncomingMessage): Promise<{ whole: boolean; tail: string }> {
  let tail: Buffer = Buffer.alloc(0)
  const closed = new Promise((done) => reply.once('close', done))
  reply.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk.subarray(-4_096)]).subarray(-4_096)
  })
  await closed
  return { whole: reply.complete, tail: tail.toString('latin1') }
}

/** Two of each of two clients. */
const all = (url: string) =>
  Promise.all([
    begun(url, 'ndjson', as('a')),
    begun(url, 'csv', as('a')),
    begun(url, 'parquet', as('b')),
    begun(url, 'ndjson', as('b')),
  ])

async function refusal(url: string, name: (typeof CLIENTS)[number]) {
  const reply = await fetch(`${url}/v1/export?what=media`, { headers: as(name) })
  return [reply.status, ((await reply.json()) as { code: string }).code]
}

test('an export that fails on its way breaks off: nobody can take it for whole, and no word of the engine goes out', async (t) => {
  // A server of its own, since it is killed; where the others have one, this one can be had too.
  if (need(t, 'clickhouse') === null) return
  const server = await startClickhouse()
  t.after(() => server.stop())
  const engine = await open(t, server.address)
  await fill(engine)

  await t.test('when its query fails', async (t) => {
    const poor = await open(t, `${server.address}?${POOR}`)
    const { url } = await startApi(t, poor, { api: { auth: { keys } } })
    const replies = await Promise.all([
      begun(url, 'ndjson', as('a')),
      begun(url, 'csv', as('b')),
      begun(url, 'csv', { ...as('b'), 'accept-encoding': 'gzip' }),
    ])
    // Parquet is written in groups of a million rows: here it has not begun.
    const none = await fetch(`${url}/v1/export?what=media&format=parquet`, { headers: as('a') })
    assert.deepEqual([none.status, ((await none.json()) as { code: string }).code], [500, 'internal'])
    for (const { whole, tail } of await Promise.all(replies.map(rest))) {
      assert.equal(whole, false)
      assert.doesNotMatch(tail, /exception|Code: \d|bytes_to_read/i)
    }
  })

  await t.test('when its client stops reading, whose place is free again', async (t) => {
    // It is asked again and again until the place is free.
    const rate = { requests: 100_000 }
    const { url } = await startApi(t, engine, {
      api: { auth: { keys }, export_stall: '5s', queries_max: 1, rate },
    })
    const place = async () => {
      const next = await fetch(`${url}/v1/export?what=media&creator_id=nobody&platform=tiktok`, {
        headers: as('a'),
      })
      const text = await next.text()
      return next.status === 200 ? 'free' : (JSON.parse(text) as { code: string }).code
    }
    // When the machine stood still, it is broken off before anybody has asked for its place.
    let reply: IncomingMessage
    let state: string
    do {
      reply = await begun(url, 'csv', as('a'))
      state = await place()
    } while (state === 'free')
    assert.equal(state, 'too_many_queries')
    await until(async () => (await place()) === 'free', 'a free place')
    assert.equal((await rest(reply)).whole, false)
  })

  await t.test('when its server dies', async (t) => {
    const { url } = await startApi(t, engine, { api: { auth: { keys } } })
    const replies = await all(url)
    // As many as a client may have, and then as many as all may.
    assert.deepEqual(await refusal(url, 'a'), [429, 'too_many_queries'])
    const fifth = await begun(url, 'csv', as('c'))
    assert.deepEqual(await refusal(url, 'c'), [503, 'unavailable'])
    await server.kill()
    for (const { whole } of await Promise.all([...replies, fifth].map(rest))) assert.equal(whole, false)
  })
})
