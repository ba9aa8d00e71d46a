import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { RateLimiterRedis, type RateLimiterRes, RateLimiterUnion } from 'rate-limiter-flexible'
import { type Contestant, NO_REPLY } from './gate.ts'
import { ENDPOINTS, LIMITS, PLATFORM } from './limits.ts'

/** The least wait: what is left of a window may round to nothing. */
const WAIT_MS_MIN = 5
/** Waiters that were all told the same moment spread out. Of 5, 25 and 100 ms this did best, and exponential back-off did worse. */
const SPREAD_MS = 100

/**
 * rate-limiter-flexible's RateLimiterUnion of three RateLimiterRedis: so many points in so many whole seconds for the global
 * limit, the platform and the endpoint. A refused waiter comes back after the longest `msBeforeNext`, which is what the library
 * hands out for it.
 */
export const union: Contestant = {
  name: 'RateLimiterUnion',
  async open({ url, keyPrefix }) {
    const redis = new Redis(url)
    const limiter = (name: string, points: number, duration: number) =>
      new RateLimiterRedis({ storeClient: redis, keyPrefix: `${keyPrefix}:${name}`, points, duration })
    const all = limiter('global', LIMITS.global.rate, 1)
    const platform = limiter('platform', LIMITS.platforms[PLATFORM]!.rate, 1)
    const unions = new Map(
      ENDPOINTS.map((endpoint) => {
        const { limit, windowMs } = LIMITS.endpoints[PLATFORM]![endpoint]!
        return [endpoint, new RateLimiterUnion(all, platform, limiter(endpoint, limit, windowMs / 1_000))]
      }),
    )
    return {
      async acquire(endpoint, signal) {
        for (;;) {
          signal.throwIfAborted()
          const refused = await consume(unions.get(endpoint)!)
          if (refused === undefined) return NO_REPLY
          const waitMs = Math.max(WAIT_MS_MIN, ...refused.map(({ msBeforeNext }) => msBeforeNext))
          await sleep(waitMs + Math.random() * SPREAD_MS)
        }
      },
      async stop() {
        redis.disconnect()
      },
    }
  },
}

/** Undefined, or what those who refused say. A limiter that could not ask Redis puts its error there: that ends the run. */
async function consume(limiters: RateLimiterUnion): Promise<readonly RateLimiterRes[] | undefined> {
  try {
    await limiters.consume('all')
    return undefined
  } catch (refusals) {
    // By the library's documentation: a result or an error for each limiter that refused, by its prefix.
    const refused = Object.values(refusals as Record<string, RateLimiterRes | Error>)
    for (const one of refused) if (one instanceof Error) throw one
    return refused as RateLimiterRes[]
  }
}
