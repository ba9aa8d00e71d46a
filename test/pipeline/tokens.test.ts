import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { HEADERS } from '../../src/job/job.ts'
import type { CallContext, Platform } from '../../src/job/platform.ts'
import { Bench, COUNTER, JOB, json } from './pipeline-bench.ts'

/** Its calls need a token. */
const TOKENS = {
  ...COUNTER,
  endpoints: {
    ...COUNTER.endpoints,
    token: { path: '/token', method: 'POST', authorised: false, response: z.object({ token: z.string() }) },
  },
  authorise: async (_credentials: unknown, { get }: { get: CallContext['get'] }) => {
    const { token } = (await get('token')) as { token: string }
    return { query: { token }, expiresInMs: 7_200_000 }
  },
} as Platform

test('a token that one job fails to get, on its last attempt or past its time, is got by the others', async () => {
  const bench = new Bench(TOKENS)
  let asked = 0
  bench.reply = ({ pathname }) => {
    if (pathname !== '/prefix/token') return json(200, { count: 1 })
    return ++asked === 1 ? json(500, '') : json(200, { token: 't' })
  }
  await Promise.all([
    bench.deliver(JOB, { [HEADERS.attempts]: Buffer.from('2') }),
    bench.deliver(JOB),
    bench.deliver(JOB),
  ])
  assert.deepEqual(
    bench.results().map(({ status }) => status),
    ['dead', 'done', 'done'],
  )

  const late = new Bench(TOKENS)
  late.reply = ({ pathname }) => json(200, pathname === '/prefix/token' ? { token: 't' } : { count: 1 })
  late.desk.pause('counter', 'test')
  const soon = new Date(Date.now() + 100).toISOString()
  const all = [late.deliver({ ...JOB, expires_at: soon }), late.deliver(JOB)]
  await new Promise((resolve) => setTimeout(resolve, 150))
  late.desk.resume('counter')
  await Promise.all(all)
  assert.deepEqual(
    late.results().map(({ status, reason }) => [status, reason]),
    [
      ['dead', 'expired'],
      ['done', null],
    ],
  )
})

test('a token that was revoked early is renewed once, and all jobs go on', async () => {
  let tokens = 0
  const bench = new Bench({
    ...COUNTER,
    endpoints: {
      ...COUNTER.endpoints,
      token: { path: '/token', method: 'POST', authorised: false, response: z.object({ token: z.string() }) },
    },
    authorise: async (_credentials: unknown, { get }: { get: CallContext['get'] }) => {
      const { token } = (await get('token')) as { token: string }
      return { query: { token }, expiresInMs: 7_200_000 }
    },
  } as Platform)
  bench.reply = (url) => {
    if (url.pathname.endsWith('/token')) return json(200, { token: `t${++tokens}` })
    return url.searchParams.get('token') === 't2' ? json(200, { count: 3 }) : json(401, {})
  }
  await Promise.all([bench.deliver(JOB), bench.deliver(JOB), bench.deliver(JOB)])
  assert.deepEqual(
    bench.results().map(({ status }) => status),
    ['done', 'done', 'done'],
  )
  assert.equal(tokens, 2)
  bench.reply = (url) => (url.pathname.endsWith('/token') ? json(200, { token: 'bad' }) : json(401, {}))
  await bench.deliver(JOB)
  assert.equal(bench.results()[3]?.reason, 'unauthorized')
})
