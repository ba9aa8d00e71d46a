import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import { Fleet } from '../../src/fleet/fleet.ts'
import type { Report } from '../../src/fleet/member.ts'
import type { Order } from '../../src/fleet/order.ts'
import { ServiceAwayError } from '../../src/job/errors.ts'
import { silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { startRedis } from '../services/redis.ts'

const REPORT: Report = {
  name: 'a',
  url: 'http://a.example:9464',
  version: '1.0.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  ready: true,
  inFlight: 1,
  ended: 2,
  perSecond: 3,
}

let runs = 0
const prefixOf = () => `fleet-${process.pid}-${runs++}`

async function join(t: TestContext, url: string, prefix: string, name: string, beatMs = 20) {
  const orders: Order[] = []
  const fleet = new Fleet(
    { redis: { url, keyPrefix: prefix, commandTimeoutMs: 30_000 }, beatMs },
    { report: () => ({ ...REPORT, name }), onOrder: (order) => orders.push(order), log: silent },
  )
  await fleet.start()
  t.after(() => fleet.stop())
  return { fleet, orders }
}

const until = <T>(what: string, look: () => T | undefined) =>
  poll(async () => look(), { withinMs: 60_000, everyMs: 10, what })

const namesOf = (fleet: Fleet) =>
  fleet.members.map(({ name, isSelf }) => `${name}${isSelf ? ' (self)' : ''}`).join()

test('daemons see each other come, and go', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const prefix = prefixOf()
  const a = await join(t, url, prefix, 'a')
  assert.equal(namesOf(a.fleet), 'a (self)')
  const b = await join(t, url, prefix, 'b')
  assert.equal(namesOf(b.fleet), 'a,b (self)')
  await until('a sees b', () => (namesOf(a.fleet) === 'a (self),b' ? true : undefined))
  await b.fleet.stop()
  await until('a sees that b left', () => (namesOf(a.fleet) === 'a (self)' ? true : undefined))
})

test('an order reaches every daemon once, and a pause one that starts later', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const prefix = prefixOf()
  const a = await join(t, url, prefix, 'a')
  const b = await join(t, url, prefix, 'b')
  const pause = { platform: 'tiktok', paused: true, because: 'by hand', atMs: 1 }
  await a.fleet.order(pause)
  assert.deepEqual(a.orders, [pause], 'at once where it is given')
  await until('b hears of it', () => (b.orders.length > 0 ? true : undefined))
  const c = await join(t, url, prefix, 'c')
  assert.deepEqual(c.orders, [pause])
  const resume = { ...pause, paused: false, because: '', atMs: 2 }
  await b.fleet.order(resume)
  await until('all hear of it', () => (a.orders.length > 1 && c.orders.length > 1 ? true : undefined))
  const d = await join(t, url, prefix, 'd')
  assert.deepEqual(
    [a.orders, b.orders, c.orders, d.orders],
    [[pause, resume], [pause, resume], [pause, resume], []],
  )
})

test('who gives orders hears none again that went before them', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const { fleet, orders } = await join(t, url, prefixOf(), 'a', 1)
  const given = Array.from({ length: 100 }, (_, index) => ({
    ...{ platform: 'tiktok', paused: index % 2 === 0, because: 'by hand' },
    atMs: index + 1,
  }))
  for (const order of given) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    const told = fleet.order(order)
    // The answer to a beat that was asked before lies there together with this one's.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    await told
  }
  await fleet.stop()
  assert.deepEqual(orders, given)
})

test('who is silent for long is forgotten, and what is no daemon of ours is not shown', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const prefix = prefixOf()
  const client = new Redis(url)
  t.after(() => client.disconnect())
  const key = `{${prefix}}:daemons`
  const seenMs = Date.now()
  await client.hset(key, {
    silent: JSON.stringify({ ...REPORT, name: 'silent', seenMs: seenMs - 20_000 }),
    dead: JSON.stringify({ ...REPORT, name: 'dead', seenMs: seenMs - 120_000 }),
    hostile: JSON.stringify({ ...REPORT, name: 'hostile', url: 'javascript:alert(1)', seenMs }),
    garbage: '{',
  })
  await client.hset(`{${prefix}}:orders`, { tiktok: '[]', youtube: 'no' })
  const { fleet, orders } = await join(t, url, prefix, 'a')
  assert.equal(namesOf(fleet), 'a (self),silent')
  assert.ok((fleet.members[1]?.silentMs ?? 0) >= 20_000)
  assert.deepEqual(orders, [])
  assert.equal(await client.hlen(key), 2, 'the others are gone')
})

test('while Redis is away the list is empty, and an order says so', async (t) => {
  if (need(t, 'redis') === null) return
  const redis = await startRedis()
  t.after(() => redis.stop())
  const { fleet } = await join(t, redis.address, prefixOf(), 'a')
  await redis.stop()
  await until('the list is empty', () => (fleet.members.length === 0 ? true : undefined))
  await assert.rejects(fleet.order({ platform: 'x', paused: true, because: '', atMs: 1 }), ServiceAwayError)
})
