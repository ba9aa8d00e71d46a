import {
  endpointLevel,
  endpointLimit,
  GLOBAL_LEVEL,
  type LimitPlan,
  platformLevel,
  platformLimit,
} from '../../src/limiter/plan.ts'

/** A request as the upstream saw it, on the upstream's clock. */
export interface Arrival {
  readonly atMs: number
  readonly platform: string
  readonly endpoint: string
  readonly cost: number
}

export interface Violation {
  readonly level: string
  readonly atMs: number
  /** Window: units in the window that ends here. Bucket: what the bucket is short of. */
  readonly found: number
  readonly allowed: number
}

/**
 * The exact judge of a limiter: what an upstream with these limits would have refused. It knows arrivals only, nothing of grants.
 * - Windows by the definition: for every arrival, the units of all arrivals in (at − W, at].
 * - Buckets by the definition: full at first, filled at the rate, up to the burst.
 * Refused requests count as well, as they do where a platform means it.
 */
export function violations(plan: LimitPlan, arrivals: readonly Arrival[]): readonly Violation[] {
  const ordered = [...arrivals].sort((a, b) => a.atMs - b.atMs)
  const found: Violation[] = []
  const buckets = new Map<string, { tokens: number; atMs: number }>()
  const windows = new Map<string, { log: Arrival[]; head: number; units: number }>()
  for (const arrival of ordered) {
    const { atMs, platform, endpoint, cost } = arrival
    const levels = [
      [GLOBAL_LEVEL, plan.global],
      [platformLevel(platform), platformLimit(plan, platform)],
    ] as const
    for (const [level, { rate, burst }] of levels) {
      const bucket = buckets.get(level) ?? { tokens: burst, atMs }
      const tokens = Math.min(burst, bucket.tokens + ((atMs - bucket.atMs) * rate) / 1000) - cost
      // A millionth of a unit for the rounding of sums of fractions.
      if (tokens < -1e-6) found.push({ level, atMs, found: tokens, allowed: 0 })
      buckets.set(level, { tokens, atMs })
    }
    const level = endpointLevel(platform, endpoint)
    const { limit, windowMs } = endpointLimit(plan, platform, endpoint)
    const window = windows.get(level) ?? { log: [], head: 0, units: 0 }
    windows.set(level, window)
    window.log.push(arrival)
    window.units += cost
    for (let first = window.log[window.head]; first !== undefined && first.atMs <= atMs - windowMs; ) {
      window.units -= first.cost
      first = window.log[++window.head]
    }
    if (window.units > limit) found.push({ level, atMs, found: window.units, allowed: limit })
  }
  return found
}

/** Share of what the level sustains that arrived in [fromMs, toMs), by level. */
export function utilisation(
  plan: LimitPlan,
  arrivals: readonly Arrival[],
  { fromMs, toMs }: { fromMs: number; toMs: number },
): ReadonlyMap<string, number> {
  const used = new Map<string, number>()
  const add = (level: string, cost: number, rate: number) => {
    used.set(level, (used.get(level) ?? 0) + cost / ((rate * (toMs - fromMs)) / 1000))
  }
  for (const { atMs, platform, endpoint, cost } of arrivals) {
    if (atMs < fromMs || atMs >= toMs) continue
    const { limit, windowMs } = endpointLimit(plan, platform, endpoint)
    add(GLOBAL_LEVEL, cost, plan.global.rate)
    add(platformLevel(platform), cost, platformLimit(plan, platform).rate)
    add(endpointLevel(platform, endpoint), cost, (limit * 1000) / windowMs)
  }
  return used
}
