import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Ack } from '../../src/job/permit.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import type { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { need } from '../need.ts'
import { type Arrival, utilisation, violations } from './oracle.ts'
import { open, until } from './redis-limiter.ts'
import { demand, want } from './sample.ts'

const BUSY: LimitPlan = {
  global: { rate: 200, burst: 100 },
  platforms: { p: { rate: 60, burst: 30 } },
  endpoints: { p: { tight: { limit: 20, windowMs: 1_000 }, wide: { limit: 100, windowMs: 1_000 } } },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 200,
  grantTimeoutMs: 600,
}

/** Uses up the limits through one limiter: a request arrives when its permit does, and is acknowledged a little later. */
async function saturate(limiter: StackedLimiter, arrivals: Arrival[], untilMs: number): Promise<void> {
  let acks: Ack[] = []
  while (performance.now() < untilMs) {
    const askedAtMs = performance.now()
    const told = acks
    acks = []
    const grants = await limiter
      .decide(demand('p', [want('tight', 9), want('wide', 9)], told))
      .catch(() => [])
    const atMs = performance.now()
    let waitMs = grants.length === 0 ? 25 : 200
    for (const { endpoint, grant, granted, waitMs: nextMs } of grants) {
      waitMs = Math.min(waitMs, nextMs)
      if (granted === 0) continue
      acks.push({ endpoint, grant, arrived: granted })
      if (atMs - askedAtMs > BUSY.arrivalJitterMs) continue
      for (let i = 0; i < granted; i++) arrivals.push({ atMs, platform: 'p', endpoint, cost: 1 })
    }
    await sleep(acks.length > 0 ? Math.min(10, waitMs) : waitMs)
  }
}

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
  await Promise.all(limiters.map((limiter) => saturate(limiter, arrivals, fromMs + 3_000)))
  assert.deepEqual(violations(BUSY, arrivals), [])
  const used = utilisation(BUSY, arrivals, { fromMs: fromMs + 1_000, toMs: fromMs + 3_000 })
  t.diagnostic(JSON.stringify([...used]))
  // Loose: the machine that runs the tests may be busy. The exact figures are in the fleet's tests.
  assert.ok(used.get('platform:p')! > 0.8)
})

test('in Redis: keeps the limits over a restart of Redis that loses everything', async (t) => {
  if (need(t, 'redis') === null) return
  if (spawnSync('redis-server', ['--version']).status !== 0) return t.skip('needs redis-server on PATH')
  const port = await freePort()
  let server = await serve(t, port)
  const url = `redis://127.0.0.1:${port}`
  const keyPrefix = 'test'
  const limiters = [
    (await open(t, url, { plan: BUSY, coldStart: 'empty', keyPrefix })).limiter,
    (await open(t, url, { plan: BUSY, coldStart: 'empty', keyPrefix })).limiter,
  ]
  const fromMs = performance.now()
  const arrivals: Arrival[] = []
  const work = Promise.all(limiters.map((limiter) => saturate(limiter, arrivals, fromMs + 5_000)))
  await until(() => arrivals.length > 40)
  server.kill('SIGKILL')
  await once(server, 'exit')
  const beforeCount = arrivals.length
  server = await serve(t, port)
  const backMs = performance.now()
  await work
  assert.deepEqual(violations(BUSY, arrivals), [])
  const after = arrivals.slice(beforeCount)
  assert.ok(after.length > 40, `${after.length} arrivals after the restart`)
  // Windows were full for the time-out of a grant and one window.
  assert.ok(after[0]!.atMs - backMs > 1_400, `${after[0]!.atMs - backMs} ms`)
})

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function serve(t: TestContext, port: number): Promise<ChildProcess> {
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const server = spawn('redis-server', settings, { stdio: 'ignore' })
  t.after(() => server.kill('SIGKILL'))
  const redis = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => 20 })
  redis.on('error', () => {})
  redis.connect().catch(() => {})
  await until(() => redis.status === 'ready')
  redis.disconnect()
  return server
}
