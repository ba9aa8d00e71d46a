import type { LimitPlan } from '../../src/limiter/plan.ts'

export const PLATFORM = 'bench'

/**
 * What the platform enforces. The windows together would let 280 a second through and the platform's bucket lets 200: so
 * `followers` and `comments` are held by their windows, `profile` by its own for most of the time, and `media` gets what the
 * bucket has left. The burst is a second's worth, which a limiter of so many points for each second may take for the same thing.
 * Global stands in nobody's way.
 */
export const LIMITS: LimitPlan = {
  global: { rate: 5_000, burst: 5_000 },
  platforms: { [PLATFORM]: { rate: 200, burst: 200 } },
  endpoints: {
    [PLATFORM]: {
      profile: { limit: 60, windowMs: 1_000 },
      media: { limit: 150, windowMs: 1_000 },
      followers: { limit: 60, windowMs: 2_000 },
      comments: { limit: 80, windowMs: 2_000 },
    },
  },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 100,
  grantTimeoutMs: 2_000,
}

/** The waiters go round them: one that is alone asks for the first, which holds it back. */
export const ENDPOINTS: readonly string[] = Object.keys(LIMITS.endpoints[PLATFORM]!)
