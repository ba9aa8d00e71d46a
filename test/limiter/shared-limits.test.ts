import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { type Arrival, utilisation, violations } from './oracle.ts'
import { open } from './redis-limiter.ts'
import { ownRedis, RedisServer } from './redis-servers.ts'
import { BUSY, saturate } from './saturate.ts'

test('in Redis: two limiters together never exceed a level, and use it up', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const keyPrefix = `test-${randomUUID()}`
  const limiters = [
    (await open(t, address, { plan: BUSY, keyPrefix })).limiter,
    (await open(t, address, { plan: BUSY, keyPrefix })).limiter,
  ]
  const fromMs = performance.now()
  const arrivals: Arrival[] = []
  await Promise.all(
    limiters.map((limiter) => saturate(limiter, arrivals, () => performance.now() < fromMs + 3_000)),
  )
  assert.deepEqual(violations(BUSY, arrivals), [])
  const used = utilisation(BUSY, arrivals, { fromMs: fromMs + 1_000, toMs: fromMs + 3_000 })
  t.diagnostic(JSON.stringify([...used]))
  // Loose: the machine that runs the tests may be busy. The exact figures are in the fleet's tests.
  assert.ok(used.get('platform:p')! > 0.8)
})

test('in Redis: keeps the limits over a restart of Redis that loses everything', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t)
  const { url } = server
  const keyPrefix = 'test'
  const limiters = [
    (await open(t, url, { plan: BUSY, coldStart: 'empty', keyPrefix })).limiter,
    (await open(t, url, { plan: BUSY, coldStart: 'empty', keyPrefix })).limiter,
  ]
  const fromMs = performance.now()
  const arrivals: Arrival[] = []
  const work = Promise.all(
    limiters.map((limiter) => saturate(limiter, arrivals, () => performance.now() < fromMs + 5_000)),
  )
  await until(() => arrivals.length > 40)
  await server.kill()
  const beforeCount = arrivals.length
  await server.start()
  const backMs = performance.now()
  await work
  assert.deepEqual(violations(BUSY, arrivals), [])
  const after = arrivals.slice(beforeCount)
  assert.ok(after.length > 40, `${after.length} arrivals after the restart`)
  // Windows were full for the time-out of a grant and one window.
  assert.ok(after[0]!.atMs - backMs > 1_400, `${after[0]!.atMs - backMs} ms`)
})
