import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { ServiceAwayError } from '../../src/job/errors.ts'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { need } from '../need.ts'
import { atOnce, until } from '../until.ts'
import { CONTRACT_PLAN, contractOf } from './limiter-contract.ts'
import { open } from './redis-limiter.ts'
import { RedisProxy } from './redis-proxy.ts'
import { demand, metrics, PLAN, SILENT, want } from './sample.ts'

contractOf('in Redis', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return null
  return (await open(t, address, { plan: CONTRACT_PLAN })).limiter
})

test('in Redis: rejects at once while Redis is away, and comes back by itself', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const proxy = new RedisProxy(address)
  await proxy.open()
  const { limiter, recorded } = await open(t, proxy.url)
  t.after(() => proxy.cut())
  assert.equal(limiter.healthy, true)
  await proxy.cut()
  await until(() => !limiter.healthy)
  const refused = assert.rejects(limiter.decide(demand('instagram', [want('user_media')])), (error) => {
    assert.ok(error instanceof ServiceAwayError)
    assert.equal(error.service, 'redis')
    return true
  })
  await atOnce(refused, 'the refusal')
  await proxy.open()
  await until(() => limiter.healthy)
  const [grant] = await limiter.decide(demand('instagram', [want('user_media')]))
  assert.equal(grant!.granted, 1)
  assert.match(await recorded.registry.metrics(), /millrace_limiter_calls_total\{outcome="error"\} 1/)
})

test('in Redis: gives a connection up that has gone silent', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const proxy = new RedisProxy(address)
  await proxy.open()
  const { limiter } = await open(t, proxy.url, { commandTimeoutMs: 400 })
  t.after(() => proxy.cut())
  proxy.freeze()
  await assert.rejects(limiter.decide(demand('instagram', [want('user_media')])), ServiceAwayError)
  assert.equal(limiter.healthy, false)
  await proxy.cut()
  await proxy.open()
  await until(() => limiter.healthy)
})

test('in Redis: a start without Redis rejects, and may be tried again', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const proxy = new RedisProxy(address)
  await proxy.open()
  const { url } = proxy
  await proxy.cut()
  const recorded = metrics()
  // The start that does not succeed takes all of it; the others are tried again.
  const redis = { url, keyPrefix: `test-${randomUUID()}`, startTimeoutMs: 3_000 }
  const limiter = new StackedLimiter({ plan: PLAN, redis, coldStart: 'full', metrics: recorded, log: SILENT })
  t.after(() => limiter.stop())
  await assert.rejects(limiter.start(), {
    name: 'ServiceAwayError',
    message: new RegExp(`Redis at ${new URL(url).host}`),
  })
  await proxy.open()
  t.after(() => proxy.cut())
  const starts = () =>
    until(() =>
      limiter.start().then(
        () => true,
        () => false,
      ),
    )
  await starts()
  await starts()
  assert.equal(limiter.healthy, true)
  await limiter.stop()
  await limiter.stop()
  assert.equal(limiter.healthy, false)
  await starts()
  assert.equal(limiter.healthy, true)
})

test('in Redis: what one daemon hears from the upstream, every other one knows with its next call', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const { limiter: one, keyPrefix } = await open(t, address)
  const { limiter: other } = await open(t, address, { keyPrefix })
  const target = { platform: 'instagram', endpoint: 'user_profile' }
  assert.equal((await other.decide(demand('instagram', [want('user_profile')])))[0]!.granted, 1)
  await one.learn(target, { blockMs: 30_000, rejected: true })
  const [blocked] = await other.decide(demand('instagram', [want('user_profile')]))
  assert.deepEqual([blocked!.granted, blocked!.level], [0, 'endpoint:instagram/user_profile'])
  assert.ok(blocked!.waitMs > 10_000)
  const state = (await other.levels('instagram')).find(({ level }) => level === blocked!.level)
  assert.equal(state?.factor, 0.7)
})

test('in Redis: survives SCRIPT FLUSH', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const { limiter } = await open(t, address)
  await limiter.decide(demand('instagram', [want('user_media')]))
  const redis = new Redis(address)
  await redis.script('FLUSH')
  await redis.quit()
  const [grant] = await limiter.decide(demand('instagram', [want('user_media')]))
  assert.equal(grant!.granted, 1)
})

test('in Redis: begins with full windows when its data is lost, unless told otherwise', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const redis = new Redis(address)
  t.after(() => redis.quit())
  const { limiter: trusting, keyPrefix } = await open(t, address)
  const { limiter: careful } = await open(t, address, { coldStart: 'empty', keyPrefix })
  const granted = async (limiter: StackedLimiter) =>
    (await limiter.decide(demand('instagram', [want('user_profile')])))[0]!.granted
  assert.equal(await granted(trusting), 1)
  assert.equal(await granted(careful), 1)
  await redis.del(`{${keyPrefix}}:levels`)
  assert.equal(await granted(careful), 0)
  assert.equal(await granted(trusting), 0)
})

test('in Redis: begins with full windows on another server than before', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const redis = new Redis(address)
  t.after(() => redis.quit())
  const { limiter: trusting, keyPrefix } = await open(t, address)
  const { limiter: careful } = await open(t, address, { coldStart: 'empty', keyPrefix })
  await trusting.decide(demand('instagram', [want('user_profile')]))
  const granted = async () => (await careful.decide(demand('instagram', [want('user_profile')])))[0]!.granted
  assert.equal(await granted(), 1)
  // What a fail-over leaves: the data of a server with another run_id.
  const move = `local core = cmsgpack.unpack(redis.call('HGET', KEYS[1], 'core'))
    core[1] = '0123456789abcdef'
    return redis.call('HSET', KEYS[1], 'core', cmsgpack.pack(core))`
  await redis.eval(move, 1, `{${keyPrefix}}:levels`)
  assert.equal(await granted(), 0)
})

test('in Redis: says so when something else uses its key', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const redis = new Redis(address)
  t.after(() => redis.quit())
  const { limiter, keyPrefix } = await open(t, address)
  await redis.set(`{${keyPrefix}}:levels`, 'a string')
  await assert.rejects(limiter.decide(demand('instagram', [want('user_media')])), {
    code: 'REDIS_REFUSED',
    message: /WRONGTYPE.*key prefix/,
  })
})

test('in Redis: is a RateLimiterRedis to those who know one', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const { limiter } = await open(t, address)
  assert.ok(limiter instanceof RateLimiterRedis)
  const taken = await limiter.consume('instagram/user_media', 3)
  assert.equal(taken.remainingPoints, 2)
  const denied = await limiter.consume('instagram/user_media', 3).catch((reason: unknown) => reason)
  assert.ok(denied instanceof RateLimiterRes)
  assert.ok(denied.msBeforeNext > 9_000)
  // All or nothing: the denial took none of the two that are left.
  assert.equal((await limiter.get('instagram/user_media'))?.remainingPoints, 2)
  await limiter.block('instagram/user_media', 30)
  await assert.rejects(limiter.consume('instagram/user_media'), RateLimiterRes)
  await limiter.delete('instagram/user_media')
  assert.equal((await limiter.consume('instagram/user_media')).remainingPoints, 1)
  // Somebody else has used 28 of 30.
  await limiter.penalty('instagram/user_profile', 28)
  assert.equal((await limiter.get('instagram/user_profile'))?.remainingPoints, 2)
  await assert.rejects(limiter.reward(), { code: 'LIMITER_UNSUPPORTED' })
  await assert.rejects(limiter.consume('instagram'), { code: 'LIMIT_DEMAND' })
  await limiter.stop()
  await assert.rejects(limiter.consume('instagram/user_media'), ServiceAwayError)
})

test('in Redis: asks the insurance limiter while Redis is away, if there is one', async (t) => {
  const address = need(t, 'redis')
  if (address === null) return
  const proxy = new RedisProxy(address)
  await proxy.open()
  const insuranceLimiter = new RateLimiterMemory({ points: 2, duration: 60 })
  const { limiter } = await open(t, proxy.url, { insuranceLimiter })
  assert.equal((await limiter.consume('instagram/user_media', 3)).remainingPoints, 2)
  await proxy.cut()
  await until(() => !limiter.healthy)
  assert.equal((await limiter.consume('instagram/user_media')).remainingPoints, 1)
  await limiter.consume('instagram/user_media')
  await assert.rejects(limiter.consume('instagram/user_media'), RateLimiterRes)
  // The daemon's own calls have no insurance but the fixed share.
  await assert.rejects(limiter.decide(demand('instagram', [want('user_media')])), ServiceAwayError)
})
