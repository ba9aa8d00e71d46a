import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { ServiceAwayError } from '../../src/job/errors.ts'
import type { Demand } from '../../src/job/permit.ts'
import { FixedShare, silenceMs } from '../../src/limiter/fixed-share.ts'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { until } from '../until.ts'
import { type Arrival, utilisation, violations } from './oracle.ts'
import { open } from './redis-limiter.ts'
import { RedisProxy } from './redis-proxy.ts'
import { ownRedis, RedisServer, startCluster } from './redis-servers.ts'
import { demand, metrics, SILENT, want } from './sample.ts'
import { BUSY, saturate } from './saturate.ts'

/** A cold start: the time-out of a grant and one window. */
const COLD_MS = 1_600
const MEASURED_MS = 2_000
/** No window is longer than a second: what settles, settles soon. */
const SHORT = { ...BUSY, defaultEndpoint: { limit: 60, windowMs: 1_000 } }

interface Load {
  readonly arrivals: readonly Arrival[]
  readonly limiters: readonly StackedLimiter[]
  /** Ends the load when the bucket has been used well for two seconds after now; fails when that does not come. */
  recovers(): Promise<void>
}

/** Two limiters that want more than there is. */
async function load(
  t: TestContext,
  url: string,
  options: { cluster?: readonly string[] } = {},
): Promise<Load> {
  const keyPrefix = `trouble-${randomUUID()}`
  const limiters = [
    (await open(t, url, { plan: BUSY, coldStart: 'empty', keyPrefix, ...options })).limiter,
    (await open(t, url, { plan: BUSY, coldStart: 'empty', keyPrefix, ...options })).limiter,
  ]
  const arrivals: Arrival[] = []
  let goesOn = true
  const work = Promise.all(limiters.map((limiter) => saturate(limiter, arrivals, () => goesOn)))
  t.after(async () => {
    goesOn = false
    await work
  })
  await until(() => arrivals.length > 60)
  return {
    arrivals,
    limiters,
    async recovers() {
      const usedOf = (fromMs: number) =>
        utilisation(BUSY, arrivals, { fromMs, toMs: fromMs + MEASURED_MS }).get('platform:p') ?? 0
      // Loose: the machine may be busy.
      await until(() => usedOf(performance.now() - MEASURED_MS) > 0.8)
      goesOn = false
      await work
      assert.deepEqual(violations(BUSY, arrivals), [])
    },
  }
}

test('in Redis: a restart that keeps the data may have lost the last of it: buckets empty, windows full', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t, ['--appendonly', 'yes', '--appendfsync', 'everysec'])
  const { arrivals, limiters, recovers } = await load(t, server.url)
  await server.kill()
  // What it answered before is read by then.
  await until(() => limiters.every(({ healthy }) => !healthy))
  const count = arrivals.length
  const backMs = performance.now()
  await server.start()
  await until(() => arrivals.length > count)
  assert.ok(arrivals[count]!.atMs - backMs > COLD_MS - 50, `${arrivals[count]!.atMs - backMs} ms`)
  await recovers()
})

test('in Redis: a fail-over to a replica that lacks the last writes', async (t) => {
  if (!ownRedis(t)) return
  const master = await RedisServer.start(t)
  const replica = await RedisServer.start(t)
  await replica.command('REPLICAOF', '127.0.0.1', master.port)
  await until(async () =>
    String(await replica.command('INFO', 'replication')).includes('master_link_status:up'),
  )
  const proxy = new RedisProxy(master.url)
  await proxy.open()
  t.after(() => proxy.cut())
  const { arrivals, recovers } = await load(t, proxy.url)
  await replica.command('REPLICAOF', 'NO', 'ONE')
  const parted = arrivals.length
  // Of these the replica knows nothing.
  await until(() => arrivals.length > parted + 40)
  proxy.lead(replica.url)
  const count = arrivals.length
  await until(() => arrivals.length > count + 40)
  await recovers()
})

test('in Redis: one that takes 200 ms longer to answer', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t)
  const proxy = new RedisProxy(server.url)
  await proxy.open()
  t.after(() => proxy.cut())
  const { arrivals, limiters, recovers } = await load(t, proxy.url)
  proxy.delayMs = 200
  const [limiter] = limiters
  // What comes back too late for its use is dropped, and costs no more than that.
  const startedMs = performance.now()
  await limiter!.decide(demand('p', [want('tight', 0)]))
  assert.ok(performance.now() - startedMs >= 190)
  assert.equal(limiter!.healthy, true)
  await sleep(1_500)
  assert.deepEqual(violations(BUSY, arrivals), [])
  proxy.delayMs = 0
  await recovers()
})

test('in Redis: scripts flushed again and again, then everything', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t)
  const { arrivals, recovers } = await load(t, server.url)
  for (let i = 0; i < 30; i++) {
    await server.command('SCRIPT', 'FLUSH')
    const count = arrivals.length
    await until(() => arrivals.length > count)
  }
  for (let i = 0; i < 2; i++) {
    await server.command('FLUSHALL')
    const count = arrivals.length
    await until(() => arrivals.length > count + 40)
  }
  await recovers()
})

test('in Redis: one that evicts whatever it likes', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t, ['--maxmemory', '8mb', '--maxmemory-policy', 'allkeys-random'])
  const { arrivals, recovers } = await load(t, server.url)
  const filler = new Redis(server.port, '127.0.0.1')
  t.after(() => filler.disconnect())
  let lost = 0
  const value = 'x'.repeat(20_000)
  const endMs = performance.now() + 6_000
  // Longer when it has evicted nothing of ours by then.
  for (let i = 0; performance.now() < (lost === 0 ? endMs + 60_000 : endMs); i++) {
    await filler.set(`filler:${i % 2_000}`, value)
    if (i % 50 !== 0) continue
    const keys = await filler.keys('{trouble-*:levels')
    if (keys.length === 0) lost++
    await sleep(1)
  }
  t.diagnostic(`the state was seen to be gone ${lost} times; ${arrivals.length} arrivals`)
  assert.ok(lost > 0)
  await filler.flushall()
  await recovers()
})

test('in Redis: one that is out of memory is away, and back by itself', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t)
  const { limiters, recovers } = await load(t, server.url)
  await server.command('CONFIG', 'SET', 'maxmemory', '1')
  await until(() => limiters.every(({ healthy }) => !healthy))
  await assert.rejects(limiters[0]!.decide(demand('p', [want('tight')])), ServiceAwayError)
  await server.command('CONFIG', 'SET', 'maxmemory', '0')
  await until(() => limiters.every(({ healthy }) => healthy))
  await recovers()
})

test('in Redis: a wrong password is one clear line', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t)
  await server.command('CONFIG', 'SET', 'requirepass', 'right')
  const redis = { url: server.url, keyPrefix: 'p', password: 'wrong', startTimeoutMs: 3_000 }
  const limiter = new StackedLimiter({ plan: BUSY, redis, metrics: metrics(), log: SILENT })
  t.after(() => limiter.stop())
  // A Redis that says nothing in time is away for another reason.
  let error: unknown
  await until(async () => {
    error = await limiter.start().catch((reason: unknown) => reason)
    return String(error).includes('WRONGPASS')
  })
  assert.ok(error instanceof ServiceAwayError)
  assert.match(error.message, new RegExp(`Redis at 127\\.0\\.0\\.1:${server.port} .*WRONGPASS`))
})

test('in Redis: gone for good, and a fixed share of the limits meanwhile', async (t) => {
  if (!ownRedis(t)) return
  const server = await RedisServer.start(t)
  const keyPrefix = `trouble-${randomUUID()}`
  const membership = { daemonsMax: 2, graceMs: 1_000, leaseMs: 60_000 }
  /** Of each daemon: when Redis answered it last, and how long after that it was granted something without Redis. */
  const heardMs: number[] = []
  const aloneAfterMs: number[] = []
  const daemons = [0, 1].map((at) => {
    // A Redis that stands still is waited for; a killed one closes its connections.
    const redis = { url: server.url, keyPrefix, commandTimeoutMs: 30_000, startTimeoutMs: 30_000 }
    const shared = new StackedLimiter({ plan: SHORT, redis, membership, metrics: metrics(), log: SILENT })
    const ask = shared.decide.bind(shared)
    shared.decide = async (...question) => {
      const grants = await ask(...question)
      heardMs[at] = performance.now()
      return grants
    }
    return new FixedShare({ plan: SHORT, shared, membership, metrics: metrics(), log: SILENT })
  })
  let goesOn = true
  t.after(async () => {
    goesOn = false
    await Promise.all(daemons.map((daemon) => daemon.stop()))
  })
  await Promise.all(daemons.map((daemon) => daemon.start()))
  const arrivals: Arrival[] = []
  const watched = daemons.map((daemon, at) => ({
    async decide(demand: Demand) {
      const before = heardMs[at]
      const grants = await daemon.decide(demand)
      if (heardMs[at] === before && grants.some(({ granted }) => granted > 0))
        aloneAfterMs[at] ??= performance.now() - before!
      return grants
    },
  }))
  const work = Promise.all(watched.map((daemon) => saturate(daemon, arrivals, () => goesOn)))
  await until(() => arrivals.length > 60)
  await server.kill()
  await until(() => daemons.every((_, at) => aloneAfterMs[at] !== undefined))
  assert.ok(daemons.every(({ healthy }) => healthy))
  // Nobody uses a share before everybody else has had the time to leave it. (The clocks differ by their rounding.)
  for (const ms of aloneAfterMs)
    assert.ok(ms > silenceMs(SHORT, membership) - 1, `${ms} ms after Redis was heard`)
  const usedOf = () => {
    const toMs = performance.now()
    return utilisation(SHORT, arrivals, { fromMs: toMs - MEASURED_MS, toMs }).get('platform:p') ?? 0
  }
  await until(() => usedOf() > 0.8)
  await server.start()
  await until(async () => (await server.command('EXISTS', `{${keyPrefix}}:levels`)) === 1)
  const backMs = performance.now()
  await until(() => arrivals.at(-1)!.atMs > backMs + MEASURED_MS + COLD_MS)
  await until(() => usedOf() > 0.8)
  goesOn = false
  await work
  assert.deepEqual(violations(SHORT, arrivals), [])
})

test('in a Redis Cluster of three nodes: one slot holds it all, and its node may die and come back empty', async (t) => {
  if (!ownRedis(t)) return
  const nodes = await startCluster(t)
  const [first, ...rest] = nodes.map(({ url }) => url)
  const { arrivals, limiters, recovers } = await load(t, first!, { cluster: rest })
  const sizes = await Promise.all(nodes.map((node) => node.command('DBSIZE')))
  const holders = nodes.filter((_, index) => Number(sizes[index]) > 0)
  assert.equal(holders.length, 1, `keys by node: ${sizes.join(', ')}`)
  await holders[0]!.kill()
  await until(() => limiters.every(({ healthy }) => !healthy))
  await assert.rejects(limiters[0]!.decide(demand('p', [want('tight')])), ServiceAwayError)
  await holders[0]!.start()
  await until(() => limiters.every(({ healthy }) => healthy))
  const count = arrivals.length
  await until(() => arrivals.length > count + 40)
  await recovers()
})
