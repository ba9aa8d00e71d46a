import type { AttemptError } from '../job/errors.ts'
import { REASONS } from '../job/reason.ts'

export interface RetryPolicy {
  /** Failed attempts after which a job is given up. */
  readonly attemptsMax: number
  readonly baseMs: number
  readonly ceilingMs: number
  /** A longer wait goes through a retry topic. */
  readonly inPlaceMaxMs: number
  /** Throttled attempts that are not held against a job. */
  readonly throttledMax: number
}

/** What a job has behind it. */
export interface Tally {
  /** Failed attempts, all deliveries together. */
  attempts: number
  /** Throttled attempts, all deliveries together. */
  throttled: number
  /** Replies in this delivery that were not what the platform documents. */
  badResponses: number
}

export type Verdict =
  | { readonly next: 'again'; readonly delayMs: number }
  | { readonly next: 'retry_topic'; readonly delayMs: number }
  | { readonly next: 'dead' }

/** A reply of another schema is worth one more look: a deployment at the platform's may just be under way. */
const BAD_RESPONSES_MAX = 2

/**
 * Decides what follows from a failed attempt, and counts it in `tally`. Back-off is exponential with full jitter (Brooker,
 * "Exponential Backoff and Jitter"): uniform in [0, min(ceiling, base · 2^n)), so that jobs that failed together do not come
 * back together. What the upstream asked for wins over it. `random` is uniform in [0, 1).
 */
export function judge(error: AttemptError, tally: Tally, policy: RetryPolicy, random: () => number): Verdict {
  const { kind } = REASONS[error.reason]
  // `connection` is our environment's fault or the upstream's: it counts towards the dead-letter breaker, and is retried.
  const retryable = kind === 'transient' || kind === 'throttle' || error.reason === 'connection'
  if (!retryable) {
    tally.attempts++
    return { next: 'dead' }
  }
  if (kind === 'throttle') {
    tally.throttled++
    // A spent daily quota is nobody's failure, however often it is met; expires_at bounds it.
    if (error.reason === 'rate_limited' && tally.throttled > policy.throttledMax) tally.attempts++
  } else {
    tally.attempts++
  }
  if (error.reason === 'bad_response' && ++tally.badResponses >= BAD_RESPONSES_MAX) return { next: 'dead' }
  if (tally.attempts >= policy.attemptsMax) return { next: 'dead' }

  const failures = kind === 'throttle' ? tally.throttled : tally.attempts
  const spread = Math.min(policy.ceilingMs, policy.baseMs * 2 ** (failures - 1))
  const delayMs = error.retryAfterMs ?? Math.round(random() * spread)
  return { next: delayMs <= policy.inPlaceMaxMs ? 'again' : 'retry_topic', delayMs }
}
