import type { BucketLimit, WindowLimit } from './options.ts'

/** Rounding of a few sums of doubles near a week of milliseconds; far below what a request could be early by. */
const ROUNDING_MS = 1e-6
/** Arrivals remembered for the maximum of a window; more than that a window cannot tell apart, and says so by staying there. */
const ARRIVALS_MAX = 1 << 20

/**
 * A level that requests are judged by. `waitMs` only asks; `admit` takes. Times are ms on one clock that never goes back.
 */
export interface Level {
  readonly kind: 'bucket' | 'window'
  /** Bucket: the burst. Window: the limit. */
  readonly capacity: number
  /** Requests a second that it sustains. */
  readonly rate: number
  readonly windowMs: number | null
  /** 0 when a request may pass now, else in how many ms. */
  waitMs(nowMs: number): number
  admit(nowMs: number): void
  /** Every arrival, admitted or not. */
  see(nowMs: number): void
  /** Window: the most arrivals in any window so far. Bucket: null. */
  readonly maxInWindow: number | null
  /** Forgets the maximum, not what counts against the limit. */
  resetMaximum(): void
}

/** Exact token bucket: generic cell rate algorithm, "theoretical arrival time" (ITU-T I.371). */
export class Bucket implements Level {
  readonly kind = 'bucket'
  readonly capacity: number
  readonly rate: number
  readonly windowMs = null
  readonly maxInWindow = null
  readonly #intervalMs: number
  #theoreticalMs = Number.NEGATIVE_INFINITY

  constructor(limit: BucketLimit) {
    this.capacity = limit.burst
    this.rate = limit.rate
    this.#intervalMs = 1000 / limit.rate
  }

  waitMs(nowMs: number): number {
    const wait = this.#theoreticalMs - nowMs - (this.capacity - 1) * this.#intervalMs
    return wait > ROUNDING_MS ? wait : 0
  }

  admit(nowMs: number): void {
    this.#theoreticalMs = Math.max(nowMs, this.#theoreticalMs) + this.#intervalMs
  }

  see(): void {}

  /** Share of the burst in use, 0 to 1. */
  used(nowMs: number): number {
    return Math.max(0, this.#theoreticalMs - nowMs) / (this.#intervalMs * this.capacity)
  }

  resetMaximum(): void {}
}

/** Exact sliding log: at most `limit` admitted in (now - window, now]. */
export class SlidingWindow implements Level {
  readonly kind = 'window'
  readonly capacity: number
  readonly rate: number
  readonly windowMs: number
  /** The last `limit` admitted times, round and round: the one to be overwritten next is the oldest. */
  readonly #admitted: Float64Array
  #next = 0
  #seen: Float64Array = new Float64Array(64)
  #seenFrom = 0
  #seenCount = 0
  #max = 0

  constructor(limit: WindowLimit) {
    this.capacity = limit.limit
    this.windowMs = limit.windowMs
    this.rate = (limit.limit / limit.windowMs) * 1000
    this.#admitted = new Float64Array(limit.limit).fill(Number.NEGATIVE_INFINITY)
  }

  get maxInWindow(): number {
    return this.#max
  }

  waitMs(nowMs: number): number {
    const oldest = this.#admitted[this.#next]!
    return oldest > nowMs - this.windowMs ? oldest + this.windowMs - nowMs : 0
  }

  admit(nowMs: number): void {
    this.#admitted[this.#next] = nowMs
    this.#next = (this.#next + 1) % this.capacity
  }

  see(nowMs: number): void {
    while (this.#seenCount > 0 && this.#seen[this.#seenFrom]! <= nowMs - this.windowMs) {
      this.#seenFrom = (this.#seenFrom + 1) % this.#seen.length
      this.#seenCount -= 1
    }
    if (this.#seenCount === this.#seen.length && !this.#grow()) return
    this.#seen[(this.#seenFrom + this.#seenCount) % this.#seen.length] = nowMs
    this.#seenCount += 1
    if (this.#seenCount > this.#max) this.#max = this.#seenCount
  }

  /** How many could be admitted at once now, and in how many ms it is one more; undefined when the window is empty. */
  room(nowMs: number): { readonly free: number; readonly moreInMs: number | undefined } {
    let inside = 0
    let oldest = Number.POSITIVE_INFINITY
    for (const time of this.#admitted) {
      if (time <= nowMs - this.windowMs) continue
      inside += 1
      oldest = Math.min(oldest, time)
    }
    return {
      free: this.capacity - inside,
      moreInMs: inside === 0 ? undefined : oldest + this.windowMs - nowMs,
    }
  }

  resetMaximum(): void {
    this.#max = 0
  }

  #grow(): boolean {
    if (this.#seen.length >= ARRIVALS_MAX) return false
    const larger = new Float64Array(this.#seen.length * 2)
    for (let at = 0; at < this.#seenCount; at += 1) {
      larger[at] = this.#seen[(this.#seenFrom + at) % this.#seen.length]!
    }
    this.#seen = larger
    this.#seenFrom = 0
    return true
  }
}
