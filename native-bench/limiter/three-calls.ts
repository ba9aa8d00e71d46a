import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type Contestant, NO_REPLY } from './gate.ts'
import { LIMITS, PLATFORM } from './limits.ts'

/** Up to 100, 250 or 500 ms instead: as many permits, for up to four times the calls. */
const BACKOFF_MS = { first: 25, most: 1_000 }

/** ARGV: units a second, burst, the caller's clock in ms. 1: taken. */
const TAKE_TOKEN = `
local rate, burst, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'ts')
local tokens, ts = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - ts) * rate / 1000)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'ts', math.max(now, ts))
redis.call('PEXPIRE', KEYS[1], math.ceil(2000 * burst / rate))
return allowed and 1 or 0`

/** ARGV: limit, window in ms, the caller's clock in ms, a name for the request. 1: taken. */
const TAKE_SLOT = `
local limit, window, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window)
if redis.call('ZCARD', KEYS[1]) >= limit then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[4])
redis.call('PEXPIRE', KEYS[1], window)
return 1`

/** The scripts as ioredis offers them once they are defined. */
type Scripted = Redis & {
  takeToken(key: string, rate: number, burst: number, nowMs: number): Promise<number>
  takeSlot(key: string, limit: number, windowMs: number, nowMs: number, name: string): Promise<number>
}

/**
 * What is usually written: a token bucket in a hash for the global limit, another for the platform, a sliding window in a sorted
 * set for the endpoint, one call after the other, on the client's clock. Whoever is refused polls again after an exponential
 * back-off with full jitter (Brooker, Exponential Backoff And Jitter, 2015). Tokens that were taken before a later level
 * refused are not given back, as in that code they are not.
 */
export const threeCalls: Contestant = {
  name: 'three calls',
  async open({ url, keyPrefix }) {
    const redis = new Redis(url) as Scripted
    redis.defineCommand('takeToken', { numberOfKeys: 1, lua: TAKE_TOKEN })
    redis.defineCommand('takeSlot', { numberOfKeys: 1, lua: TAKE_SLOT })
    const { global, platforms, endpoints } = LIMITS
    const platform = platforms[PLATFORM]!
    const take = async (endpoint: string): Promise<boolean> => {
      if ((await redis.takeToken(`${keyPrefix}:global`, global.rate, global.burst, Date.now())) === 0)
        return false
      if ((await redis.takeToken(`${keyPrefix}:platform`, platform.rate, platform.burst, Date.now())) === 0)
        return false
      const { limit, windowMs } = endpoints[PLATFORM]![endpoint]!
      return (
        (await redis.takeSlot(`${keyPrefix}:${endpoint}`, limit, windowMs, Date.now(), randomUUID())) === 1
      )
    }
    return {
      async acquire(endpoint, signal) {
        for (let tries = 0; ; tries++) {
          signal.throwIfAborted()
          if (await take(endpoint)) return NO_REPLY
          const backoffMs = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** tries)
          await sleep(Math.random() * backoffMs)
        }
      },
      async stop() {
        redis.disconnect()
      },
    }
  },
}
