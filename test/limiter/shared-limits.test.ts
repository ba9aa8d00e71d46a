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
  const used = () => {
    const toMs = performance.now()
    return toMs < fromMs + 3_000
      ? 0
      : utilisation(BUSY, arrivals, { fromMs: toMs - 2_000, toMs }).get('platform:p')!
  }
  // Within any two seconds, as the machine may be busy. The exact figures are in the fleet's tests.
  let usedUp = false
  const work = Promise.all(limiters.map((limiter) => saturate(limiter, arrivals, () => !usedUp)))
  await until(() => used() > 0.8).finally(() => {
    usedUp = true
  })
  await work
  assert.deepEqual(violations(BUSY, arrivals), [])
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
  const arrivals: Arrival[] = []
  let done = false
  const work = Promise.all(limiters.map((limiter) => saturate(limiter, arrivals, () => !done)))
  t.after(() => {
    done = true
  })
  await until(() => arrivals.length > 40)
  await server.kill()
  // What it answered before is read by then.
  await until(() => limiters.every(({ healthy }) => !healthy))
  const beforeCount = arrivals.length
  const backMs = performance.now()
  await server.start()
  await until(() => arrivals.length > beforeCount + 100, 'arrivals after the restart')
  done = true
  await work
  assert.deepEqual(violations(BUSY, arrivals), [])
  const after = arrivals.slice(beforeCount)
  // Windows were full for the time-out of a grant and one window.
  assert.ok(after[0]!.atMs - backMs > 1_550, `${after[0]!.atMs - backMs} ms`)
})
