import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import type { Reply } from '../../src/job/fetch.ts'
import { HEADERS } from '../../src/job/job.ts'
import type { CallContext, Platform } from '../../src/job/platform.ts'
import { headerText } from '../../src/job/record.ts'
import { linkQuery } from '../../src/platforms/reply.ts'
import { Bench, COUNTER, JOB, json } from './pipeline-bench.ts'

test('errors of the upstream are tried again in place, under new permits', async () => {
  const bench = new Bench()
  let calls = 0
  bench.reply = () => (++calls < 3 ? json(500, '') : json(200, { count: 1 }))
  await bench.deliver(JOB)
  assert.equal(calls, 3)
  assert.equal(bench.results()[0]?.attempts, 3)
  const granted = await bench.metrics.permits_granted_total.get()
  assert.equal(granted.values[0]?.value, 3)
})

test('a 429 blocks the endpoint for every daemon and sends the job to the next longer retry topic', async () => {
  const bench = new Bench()
  bench.reply = () => json(429, {}, { 'retry-after': '40' })
  const before = Date.now()
  await bench.deliver(JOB)
  assert.deepEqual(bench.learnt, [
    { platform: 'counter', endpoint: 'count', blockMs: 40_000, rejected: true },
  ])
  const retry = bench.published[0]
  assert.equal(retry?.topic, 'retry.5m')
  const headers = retry?.record.headers ?? {}
  assert.ok(Number(headerText(headers, HEADERS.dueAt)) >= before + 300_000)
  assert.equal(headerText(headers, HEADERS.reason), 'rate_limited')
  assert.equal(headerText(headers, HEADERS.attempts), '0')
  assert.equal(headerText(headers, HEADERS.throttled), '1')
  assert.deepEqual(bench.results(), [])
})

test('what a reply says about limits reaches the limiter before anything is refused, once', async () => {
  const platform: Platform = {
    ...COUNTER,
    advice: ({ headers }) => (headers['x-usage'] === '95' ? { share: 0.5 } : undefined),
  }
  const bench = new Bench(platform)
  const said = { 'x-usage': '95', 'ratelimit-policy': '"a";q=10;w=60', ratelimit: '"a";r=0;t=30' }
  bench.reply = () => json(200, { count: 1 }, said)
  await bench.deliver(JOB)
  await bench.deliver(JOB)
  bench.reply = () => json(404, {}, { ...said, ratelimit: '"a";r=0;t=90' })
  await bench.deliver(JOB)
  assert.deepEqual(bench.learnt, [
    { platform: 'counter', share: 0.5, policy: undefined },
    {
      platform: 'counter',
      endpoint: 'count',
      spentMs: 30_000,
      share: undefined,
      policy: { limit: 10, windowMs: 60_000 },
    },
    { platform: 'counter', endpoint: 'count', spentMs: 90_000 },
  ])
})

test('refusals that come together are passed on once', async () => {
  const bench = new Bench()
  bench.reply = () => json(429, {}, { 'retry-after': '40' })
  await Promise.all(Array.from({ length: 20 }, () => bench.deliver(JOB)))
  assert.equal(bench.learnt.length, 1)
})

test('a reply of another schema says which field, and is a dead letter after two looks', async () => {
  const bench = new Bench()
  let calls = 0
  bench.reply = () => {
    calls++
    return json(200, { count: 'seven' })
  }
  await bench.deliver(JOB)
  assert.equal(calls, 2)
  assert.match(bench.results()[0]?.message ?? '', /count: .*number.*"seven"/)
})

test('a status that is a failure is told with what the body says, a redirect with where it leads', async () => {
  const bench = new Bench()
  const message = async (reply: Reply) => {
    bench.reply = () => reply
    await bench.deliver(JOB)
    return bench.results().at(-1)?.message
  }
  assert.equal(
    await message(json(401, { message: 'Bad credentials' })),
    'count: status 401; found {"message":"Bad credentials"}',
  )
  assert.equal(await message(json(404, '')), 'count: status 404')
  assert.equal(await message(json(500, 'x'.repeat(400))), `count: status 500; found ${'x'.repeat(300)}…`)
  assert.equal(
    await message(json(301, {}, { location: 'https://api.example/counts/7?key=secret' })),
    'count: status 301, a redirect to https://api.example/counts/7, which calls do not follow',
  )
})

test('a 404 that is a page is no word of the API: no creator is declared gone for it', async () => {
  const bench = new Bench()
  const gone = () => bench.written.flatMap(({ rows }) => rows).filter((row) => row.table === 'creators')
  for (const [body, reason] of [
    ['\n<!DOCTYPE html><title>404</title>', 'bad_response'],
    ['Not found', 'not_found'],
  ] as const) {
    bench.reply = () => ({ ...json(404, ''), body: Buffer.from(body) })
    await bench.deliver({ ...JOB, creator_id: reason })
    assert.equal(bench.results().at(-1)?.reason, reason)
  }
  assert.equal(gone().length, 1)
})

test('a reply without a body will do where the schema needs none', async () => {
  const counted = (response: z.ZodType) =>
    new Bench({ ...COUNTER, endpoints: { count: { ...COUNTER.endpoints.count, response } } } as Platform)
  for (const [response, status] of [
    [z.object({ count: z.number() }), 'dead'],
    [z.object({ count: z.number() }).default({ count: 1 }), 'done'],
  ] as const) {
    const bench = counted(response)
    bench.reply = () => json(204, '')
    await bench.deliver(JOB)
    assert.equal(bench.results()[0]?.status, status)
  }
})

test('pages may be found by the headers that they come with', async () => {
  const asked: (string | null)[] = []
  const { endpoints } = COUNTER
  const bench = new Bench({
    ...COUNTER,
    jobs: {
      profile: {
        params: z.object({}),
        run: async (_job, { paginate }) => {
          const path = { creator: 'ada' }
          let sum = 0
          const pages = (paginate as CallContext<typeof endpoints>['paginate'])(
            'count',
            { path },
            (_page, headers) => {
              const query = linkQuery(headers)
              return query === undefined ? undefined : { path, query }
            },
          )
          for await (const { count } of pages) sum += count
          return { data: sum }
        },
      },
    },
  })
  bench.reply = ({ searchParams }) => {
    const page = searchParams.get('page')
    asked.push(page)
    return json(200, { count: 7 }, page === '2' ? {} : { link: '<https://api.example/?page=2>; rel="next"' })
  }
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.data, 14)
  assert.deepEqual(asked, [null, '2'])
})

test('pages end where a cursor repeats, at once or by turns, and at the ceiling where it never does', async () => {
  const pagesOf = async (cursorAfter: (page: number) => string, pagesMax?: number) => {
    const response = z.object({ count: z.number(), next: z.string() })
    const endpoints = { count: { path: '/count', response } } as const
    const asked: (string | null)[] = []
    const bench = new Bench({
      ...COUNTER,
      endpoints,
      jobs: {
        profile: {
          params: z.object({}),
          run: async (_job, { paginate }) => {
            let pages = 0
            const all = (paginate as CallContext<typeof endpoints>['paginate'])(
              'count',
              {},
              ({ next }) => ({ query: { cursor: next } }),
              pagesMax === undefined ? {} : { pagesMax },
            )
            for await (const _page of all) pages += 1
            return { data: pages }
          },
        },
      },
    })
    bench.reply = ({ searchParams }) => {
      asked.push(searchParams.get('cursor'))
      return json(200, { count: 1, next: cursorAfter(asked.length) })
    }
    await bench.deliver(JOB)
    assert.equal(bench.results()[0]?.data, asked.length)
    return asked
  }
  assert.deepEqual(await pagesOf(() => 'a'), [null, 'a'])
  assert.deepEqual(await pagesOf((page) => (page % 2 === 1 ? 'a' : 'b')), [null, 'a', 'b'])
  assert.deepEqual(await pagesOf((page) => String(page % 4)), [null, '1', '2', '3', '0'])
  const endless = await pagesOf((page) => `${page}${'x'.repeat(1_000)}`)
  assert.equal(endless.length, 50)
  assert.equal(new Set(endless).size, 50)
  assert.equal((await pagesOf(String, 7)).length, 7)
})

test('a schema that changed everywhere says the first fields, what was expected, and shows a sample, in 2 KB', async () => {
  const response = z.object({
    items: z.array(z.object({ id: z.string(), statistics: z.object({ count: z.int() }) })),
  })
  const bench = new Bench({ ...COUNTER, endpoints: { count: { path: '/count/:creator', response } } })
  const items = Array.from({ length: 5_000 }, (_, index) => ({ id: index, stats: { count: String(index) } }))
  bench.reply = () => json(200, { items })
  await bench.deliver(JOB)
  const letter = bench.published.find(({ topic }) => topic === 'dead')?.record
  const message = headerText(letter?.headers ?? {}, HEADERS.message) ?? ''
  assert.match(message, /^count: items\.0\.id: .*expected string.*; items\.0\.statistics: .*expected object/)
  assert.match(message, /; found \{"items":\[\{"id":0,"stats":/)
  assert.ok(Buffer.byteLength(message) <= 2_048, `${message.length}`)
})

test('what a platform says in its own words holds no secret, nor what an adapter throws', async () => {
  const bench = new Bench({
    ...COUNTER,
    refused: () => ({ reason: 'forbidden' as const, message: 'no entry for hunter22, hunter%2322' }),
  })
  bench.secrets.add(['hunter22', 'hunter#22'])
  bench.reply = () => json(403, {})
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.message, 'no entry for [redacted], [redacted]')
  bench.secrets.add(['mistake'])
  await bench.deliver({ ...JOB, job_type: 'broken' })
  assert.equal(bench.results()[1]?.message, 'a [redacted] in the adapter')
})
