import type { RateLimiterRedis } from 'rate-limiter-flexible'

interface Lease {
  left: number
  /** What is left beside the lease, as it was when it was taken. */
  readonly beside: number
  /** When the window ends, Unix ms. */
  readonly untilMs: number
}

export interface Taken {
  /** Of the window, for this process at least. */
  readonly left: number
  /** Until all is back. */
  readonly resetMs: number
}

/** Leases of a window: enough of them that one never has to come sooner than a round trip takes. */
const LEASES_A_WINDOW = 100
/** Leases of as many clients and routes; the oldest is given up, unused, when there are more. */
const LEASES_MAX = 10_000

/**
 * Counts in Redis some requests ahead, so that a client who asks much does not cost a round trip each time, a third of what it takes to
 * give out a kept answer. Never more than the window allows are let through, over all processes; a hundredth for each process may
 * stay unused, so a client may be refused so much early. Below two hundred a window every request is counted by itself.
 */
export class LeasedLimiter {
  readonly #limiter: RateLimiterRedis
  readonly #size: number
  readonly #leases = new Map<string, Lease>()
  readonly #asking = new Map<string, Promise<void>>()

  /** `points`: what the limiter allows in a window. */
  constructor(limiter: RateLimiterRedis, points: number) {
    this.#limiter = limiter
    this.#size = Math.max(1, Math.floor(points / LEASES_A_WINDOW))
  }

  /** Takes one. Rejects as the limiter does. */
  async take(key: string): Promise<Taken> {
    for (;;) {
      const lease = this.#leases.get(key)
      const nowMs = Date.now()
      if (lease !== undefined && lease.left > 0 && lease.untilMs > nowMs) {
        lease.left--
        return { left: lease.left + lease.beside, resetMs: lease.untilMs - nowMs }
      }
      // Who comes while one is being asked for waits for it: a burst takes no more than it uses.
      let asking = this.#asking.get(key)
      if (asking === undefined) {
        asking = this.#ask(key).finally(() => this.#asking.delete(key))
        this.#asking.set(key, asking)
      }
      await asking
    }
  }

  async #ask(key: string): Promise<void> {
    const { remainingPoints, msBeforeNext } = await this.#limiter.consume(key, this.#size)
    this.#leases.delete(key)
    // A window that has ended on the way would be asked for again, and again.
    const untilMs = Date.now() + Math.max(1, msBeforeNext)
    this.#leases.set(key, { left: this.#size, beside: Math.max(0, remainingPoints), untilMs })
    if (this.#leases.size > LEASES_MAX) {
      const [oldest] = this.#leases.keys()
      this.#leases.delete(oldest!)
    }
  }
}
