import type { Demand, Grant } from '../../src/job/permit.ts'
import { endpointLevel, endpointLimit, type LimitPlan, platformLimit } from '../../src/limiter/plan.ts'
import type { Decider } from './fleet.ts'

/** The usual limiters, which an oracle that is worth anything must find at fault. Windows only, unless said otherwise. */

/**
 * The sliding-window counter: this fixed window's count plus the last one's, weighted by how much of it still overlaps. It takes
 * the last window's requests to be spread evenly, which a client that is always at its limit never does.
 */
export function twoCounters(plan: LimitPlan): Decider {
  const counts = new Map<string, { index: number; now: number; last: number }>()
  return grantEach((platform, endpoint, atMs) => {
    const { limit, windowMs } = endpointLimit(plan, platform, endpoint)
    // The work begins late in a fixed window, as it may.
    const windows = atMs / windowMs + 0.9
    const index = Math.floor(windows)
    const before = counts.get(endpoint) ?? { index, now: 0, last: 0 }
    const count =
      before.index === index ? before : { index, now: 0, last: before.index === index - 1 ? before.now : 0 }
    counts.set(endpoint, count)
    const overlap = 1 - (windows - index)
    if (count.now + count.last * overlap + 1 > limit) return false
    count.now++
    return true
  })
}

/**
 * Three fixed windows that begin with their first hit, asked at the same time and independently, as RateLimiterUnion does: what
 * one refuses the others have charged all the same.
 */
export function unionOfThree(plan: LimitPlan): Decider {
  const windows = new Map<string, { fromMs: number; count: number }>()
  const consume = (name: string, limit: number, windowMs: number, atMs: number) => {
    let window = windows.get(name)
    if (window === undefined || atMs >= window.fromMs + windowMs) window = { fromMs: atMs, count: 0 }
    windows.set(name, window)
    window.count++
    return window.count <= limit
  }
  return grantEach((platform, endpoint, atMs) => {
    const { limit, windowMs } = endpointLimit(plan, platform, endpoint)
    const answers = [
      consume('global', plan.global.rate * 60, 60_000, atMs),
      consume(platform, platformLimit(plan, platform).rate * 60, 60_000, atMs),
      consume(endpointLevel(platform, endpoint), limit, windowMs, atMs),
    ]
    return answers.every(Boolean)
  })
}

/** Ours, but on the clocks of the daemons, which differ by up to `skewMsMax`. */
export function clientClocks(decide: Decider, skewMsMax: number): Decider {
  return (demand, atMs, daemon) => decide(demand, atMs + ((daemon * 0.618) % 1) * skewMsMax, daemon)
}

/** One permit after the other; who is refused asks again in 100 ms. */
function grantEach(take: (platform: string, endpoint: string, atMs: number) => boolean): Decider {
  return ({ requestId, platform, wants }: Demand, atMs: number): readonly Grant[] =>
    wants.map(({ endpoint, count }) => {
      let granted = 0
      while (granted < count && take(platform, endpoint, atMs)) granted++
      return {
        endpoint,
        granted,
        grant: requestId,
        waitMs: granted < count ? 100 : 0,
        level: null,
        gatherMs: 0,
      }
    })
}
