import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { LeasedLimiter } from '../../src/api/leased-limiter.ts'
import { need } from '../need.ts'

/** As many processes as asked for, over one Redis. */
async function processes(t: TestContext, url: string, count: number, points: number) {
  const keyPrefix = randomUUID()
  return Array.from({ length: count }, () => {
    const client = new Redis(url)
    t.after(() => client.quit())
    const limiter = new RateLimiterRedis({ storeClient: client, keyPrefix, points, duration: 600 })
    return { limiter, leased: new LeasedLimiter(limiter, points) }
  })
}

/** Asks so often at once, and says how many were let through; all others were refused. */
async function burst(leased: LeasedLimiter, key: string, times: number): Promise<number> {
  const ends = await Promise.allSettled(Array.from({ length: times }, () => leased.take(key)))
  for (const end of ends)
    if (end.status === 'rejected') assert.ok(end.reason instanceof RateLimiterRes, String(end.reason))
  return ends.filter(({ status }) => status === 'fulfilled').length
}

test('lets through what a window allows over all processes, not one more, and a hundredth less at most for each', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const all = await processes(t, url, 3, 1_000)
  const through = await Promise.all(all.map(({ leased }) => burst(leased, 'a client', 1_000)))
  const sum = through.reduce((one, other) => one + other, 0)
  assert.ok(sum <= 1_000 && sum >= 1_000 - 3 * 10, `${through.join(' + ')} of 1,000`)
  assert.equal(await burst(all[0]!.leased, 'another client', 7), 7)
})

test('a burst asks Redis no more often than its leases need, and says what is left', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const [one] = await processes(t, url, 1, 1_000)
  let asked = 0
  const { limiter } = one!
  const consume = limiter.consume.bind(limiter)
  limiter.consume = (...args) => {
    asked++
    return consume(...args)
  }
  assert.equal(await burst(one!.leased, 'a client', 95), 95)
  assert.equal(asked, 10)
  const { left, resetMs } = await one!.leased.take('a client')
  assert.equal(left, 1_000 - 96)
  assert.ok(resetMs > 0 && resetMs <= 600_000, String(resetMs))
})

test('a small window is counted one by one: nothing of it is lost', async (t) => {
  const url = need(t, 'redis')
  if (url === null) return
  const all = await processes(t, url, 2, 5)
  const through = await Promise.all(all.map(({ leased }) => burst(leased, 'a client', 5)))
  assert.equal(through[0]! + through[1]!, 5)
})
