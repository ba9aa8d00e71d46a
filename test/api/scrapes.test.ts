import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { need } from '../need.ts'
import { openFilled, resultOf, startApi } from './support.ts'

const KEYS = { viewer: 'a key of a viewer', operator: 'a key of an operator' } as const
const keys = Object.fromEntries(
  Object.entries(KEYS).map(([role, key]) => [
    role,
    { role: role as keyof typeof KEYS, sha256: createHash('sha256').update(key).digest('hex') },
  ]),
)

test('scrapes are asked for once for each key, by who may, and tell what became of them', async (t) => {
  const clickhouse = need(t, 'clickhouse')
  const redis = need(t, 'redis')
  if (clickhouse === null || redis === null) return
  const { engine } = await openFilled(t, clickhouse)
  const { url, published, get, onResult } = await startApi(t, engine, {
    redis: { url: redis, key_prefix: `test-${randomUUID()}` },
    // No window ends while the jobs of the last test are counted.
    api: { auth: { keys }, rate: { jobs: 3_000, requests: 100_000, window: '1h' } },
  })
  const post = async (body: unknown, headers: Record<string, string> = {}) => {
    const reply = await fetch(`${url}/v1/scrapes`, {
      method: 'POST',
      headers: { 'x-api-key': KEYS.operator, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
    return {
      reply,
      body: (await reply.json()) as { code?: string; jobs?: { job_id: string; href: string }[] },
    }
  }
  const state = async (href: string) =>
    (await (await get(href, { 'x-api-key': KEYS.viewer })).json()) as Record<string, unknown>
  const one = { platform: 'instagram', creator_id: 'nasa', job_type: 'profile' }

  await t.test('by an operator, not by a viewer, not by nobody', async () => {
    assert.equal((await post(one, { 'x-api-key': KEYS.viewer })).body.code, 'forbidden')
    assert.equal((await post(one, { 'x-api-key': 'x' })).body.code, 'unauthenticated')
    assert.equal(published.records.length, 0)
  })

  await t.test('one, with its place to look', async () => {
    const { reply, body } = await post(one)
    assert.deepEqual([reply.status, reply.headers.get('location')], [202, body.jobs?.[0]?.href])
    const [job] = published.jobs
    assert.deepEqual(
      [job?.platform, job?.creator_id, job?.job_id],
      ['instagram', 'nasa', body.jobs?.[0]?.job_id],
    )
    const href = body.jobs?.[0]?.href ?? ''
    assert.deepEqual([(await state(href)).state, (await state(href)).finished_at], ['queued', null])
    const finished = resultOf({
      job_id: String(job?.job_id),
      creator_id: 'nasa',
      status: 'skipped',
      reason: 'fresh',
    })
    onResult(finished)
    for (;;) {
      const found = await state(href)
      if (found.state === 'queued') continue
      assert.deepEqual(
        [found.state, found.reason, found.finished_at],
        ['skipped', 'fresh', finished.finished_at],
      )
      break
    }
    assert.equal((await state('/v1/scrapes/nothing')).code, 'not_found')
  })

  await t.test('the same key asks once, also when 20 send it at a time, and means one body', async () => {
    const before = published.records.length
    const jobs = Array.from({ length: 50 }, (_, n) => ({ ...one, creator_id: `c${n}` }))
    const key = { 'idempotency-key': 'nightly-1' }
    const replies = await Promise.all(Array.from({ length: 20 }, () => post({ jobs }, key)))
    const again = await post({ jobs }, key)
    assert.equal(published.records.length - before, 50)
    for (const { reply, body } of replies)
      assert.ok(reply.status === 202 || body.code === 'idempotency_in_progress', body.code)
    assert.deepEqual([again.reply.status, again.reply.headers.get('idempotency-replayed')], [202, 'true'])
    const first = replies.find(({ reply }) => reply.status === 202)
    assert.deepEqual(again.body.jobs, first?.body.jobs)
    assert.equal((await post(one, key)).body.code, 'idempotency_mismatch')
  })

  await t.test('one that failed keeps its ids and its logical time when it is sent again', async () => {
    const key = { 'idempotency-key': 'nightly-2' }
    published.trouble = new Error('the broker is away')
    const failed = await post(one, key)
    assert.deepEqual([failed.reply.status, failed.body.code], [503, 'unavailable'])
    assert.ok(!JSON.stringify(failed.body).includes('broker'))
    published.trouble = undefined
    const good = await post(one, key)
    assert.equal(good.reply.status, 202)
    assert.equal(published.jobs.at(-1)?.job_id, good.body.jobs?.[0]?.job_id)
  })

  await t.test('nothing that no daemon could do, and nothing that is no request', async () => {
    const before = published.records.length
    let deep: unknown = 1
    for (let n = 0; n < 20; n++) deep = { deep }
    const wrong: [unknown, string][] = [
      [{ ...one, creator_id: 'no such handle!' }, 'job_refused'],
      [{ ...one, job_type: 'dance' }, 'job_refused'],
      [{ ...one, platform: 'myspace' }, 'invalid_request'],
      [{ ...one, priority: 11 }, 'invalid_request'],
      [{ ...one, surprise: 1 }, 'invalid_request'],
      [{ jobs: [] }, 'invalid_request'],
      [{ jobs: Array.from({ length: 1_001 }, () => one) }, 'invalid_request'],
      [{ ...one, params: deep }, 'invalid_request'],
      ['{"platform":"instagram","__proto__":{"x":1}}', 'invalid_request'],
      ['{"platform":', 'invalid_request'],
      ['', 'invalid_request'],
      [`{"x":"${'x'.repeat(1_100_000)}"}`, 'too_large'],
    ]
    for (const [body, code] of wrong)
      assert.equal((await post(body)).body.code, code, JSON.stringify(body).slice(0, 80))
    assert.equal((await post(one, { 'content-type': 'text/plain' })).body.code, 'unsupported_media_type')
    assert.equal(published.records.length, before)
  })

  await t.test('no more jobs than a client may in a minute', async () => {
    const jobs = Array.from({ length: 1_000 }, (_, n) => ({ ...one, creator_id: `d${n}` }))
    assert.equal((await post({ jobs })).reply.status, 202)
    const { reply, body } = await post({ jobs })
    assert.deepEqual([reply.status, body.code], [429, 'rate_limited'])
    assert.match(reply.headers.get('ratelimit-policy') ?? '', /^"jobs";q=3000/)
  })
})
