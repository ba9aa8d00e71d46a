import { Redis } from 'ioredis'
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { PermitDesk } from '../../src/pipeline/permit-desk.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

/** One daemon's way to permits. */
export interface Daemon {
  /** Waits for a permit of an endpoint; rejects when the daemon stops. */
  acquire(endpoint: string, signal: AbortSignal): Promise<Held>
  stop(): Promise<void>
}

export interface Held {
  /** The request is under way, and then its reply has begun. */
  sent(): void
  arrived(): void
}

export interface Contestant {
  readonly name: string
  open(url: string, plan: LimitPlan): Promise<Daemon>
}

const PLATFORM = 'p'
const NOTHING: Held = { sent() {}, arrived() {} }

/** The daemon's own: one call for all that waits, acknowledgements on the next. */
export const ours: Contestant = {
  name: 'millrace',
  async open(url, plan) {
    const metrics = createMetrics()
    const log = createLog({ level: 'silent', pretty: false, secrets: [] })
    const redis = { url, keyPrefix: 'bench' }
    const limiter = new StackedLimiter({ plan, redis, coldStart: 'full', metrics, log })
    await limiter.start()
    let busy = 0
    const options = { useWithinMs: plan.arrivalJitterMs / 2, room: () => 256 - busy }
    const desk = new PermitDesk(limiter, metrics, log, { ...options, grantTimeoutMs: plan.grantTimeoutMs })
    desk.start()
    return {
      async acquire(endpoint, signal) {
        const nowMs = Date.now()
        const expiresAtMs = nowMs + 3_600_000
        const call = { platform: PLATFORM, endpoint, cost: 1, priority: 5, sinceMs: nowMs, expiresAtMs }
        const permit = await desk.acquire({ ...call, begun: false, signal })
        return {
          sent() {
            busy++
            desk.sent(permit)
          },
          arrived() {
            busy--
            desk.arrived(permit)
            desk.roomMade(PLATFORM)
          },
        }
      },
      async stop() {
        await desk.stop()
        await limiter.stop()
      },
    }
  },
}

/** rate-limiter-flexible's union of three limiters, its fixed windows set to the limits; who is refused waits as it is told. */
export const union: Contestant = {
  name: 'RateLimiterUnion',
  async open(url, plan) {
    const client = new Redis(url)
    const fixed = (keyPrefix: string, points: number, duration: number) =>
      new RateLimiterRedis({ storeClient: client, keyPrefix, points, duration })
    // A bucket as a window of a second: the nearest it has.
    const wide = fixed('global', plan.global.rate, 1)
    const platform = fixed('platform', plan.platforms[PLATFORM]!.rate, 1)
    const unions = new Map(
      Object.entries(plan.endpoints[PLATFORM]!).map(([endpoint, { limit, windowMs }]) => [
        endpoint,
        new RateLimiterUnion(wide, platform, fixed(`endpoint-${endpoint}`, limit, windowMs / 1000)),
      ]),
    )
    return {
      async acquire(endpoint, signal) {
        for (;;) {
          signal.throwIfAborted()
          const waitMs = await unions
            .get(endpoint)!
            .consume('all')
            .then(
              () => 0,
              // A RateLimiterRes for each limiter that refused, by its prefix; an Error when Redis is away.
              (refused: Record<string, { msBeforeNext: number }>) =>
                Math.max(...Object.values(refused).map(({ msBeforeNext }) => msBeforeNext)),
            )
          if (waitMs === 0) return NOTHING
          await pause(Math.min(1_000, waitMs) + Math.random() * 50, signal)
        }
      },
      stop: async () => client.disconnect(),
    }
  },
}

const BUCKET = `
local rate, burst, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(burst, (tonumber(state[1]) or burst) + (now - (tonumber(state[2]) or now)) / 1000 * rate)
local ok = tokens >= 1
if ok then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
return ok and 1 or 0`
const WINDOW = `
local limit, window, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window)
if redis.call('ZCARD', KEYS[1]) >= limit then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[4])
redis.call('PEXPIRE', KEYS[1], window)
return 1`

interface Scripted extends Redis {
  benchBucket(key: string, rate: number, burst: number, nowMs: number): Promise<number>
  benchWindow(key: string, limit: number, windowMs: number, nowMs: number, member: string): Promise<number>
}

/**
 * The usual three scripts one after the other, on the client's clock, polled with exponential back-off and jitter. What an earlier
 * level has given is not returned when a later one refuses, as is common.
 */
export const sequential: Contestant = {
  name: 'three Lua calls',
  async open(url, plan) {
    const client = new Redis(url)
    client.defineCommand('benchBucket', { numberOfKeys: 1, lua: BUCKET })
    client.defineCommand('benchWindow', { numberOfKeys: 1, lua: WINDOW })
    // defineCommand has added the methods that the type names.
    const redis = client as Scripted
    let members = 0
    const taken = async (endpoint: string) => {
      const { global, platforms, endpoints } = plan
      const platform = platforms[PLATFORM]!
      const { limit, windowMs } = endpoints[PLATFORM]![endpoint]!
      if ((await redis.benchBucket('b:global', global.rate, global.burst, Date.now())) === 0) return false
      if ((await redis.benchBucket('b:p', platform.rate, platform.burst, Date.now())) === 0) return false
      const member = `${process.pid}-${members++}-${Math.random()}`
      return (await redis.benchWindow(`w:${endpoint}`, limit, windowMs, Date.now(), member)) === 1
    }
    return {
      async acquire(endpoint, signal) {
        for (let tries = 0; ; tries++) {
          signal.throwIfAborted()
          if (await taken(endpoint)) return NOTHING
          await pause(Math.random() * Math.min(500, 10 * 2 ** Math.min(tries, 6)), signal)
        }
      },
      stop: async () => client.disconnect(),
    }
  },
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end)
      resolve()
    }, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}
