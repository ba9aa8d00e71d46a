import { Bucket, type Level } from './levels.ts'

/** A level with the counts that the oracle keeps of it, and with a place in time for arrivals of which nobody knows when they came. */
export class WatchedLevel {
  readonly name: string
  readonly level: Level
  arrivals = 0
  admitted = 0
  violations = 0
  peak = 0
  firstMs = Number.NaN
  lastMs = Number.NaN
  /** What was admitted last counts from here. */
  #placedMs = Number.NEGATIVE_INFINITY

  constructor(name: string, level: Level) {
    this.name = name
    this.level = level
  }

  /**
   * How long an arrival of `nowMs` has to wait, ms, that may have come as early as `sinceMs`: 0 when there is any moment between
   * at which it would have been admitted.
   */
  waitMs(nowMs: number, sinceMs: number): number {
    const fromMs = this.#from(nowMs, sinceMs)
    return Math.max(0, fromMs + this.level.waitMs(fromMs) - nowMs)
  }

  /** Takes it, at the earliest such moment: whoever comes later then has the most room. */
  admit(nowMs: number, sinceMs: number): void {
    const fromMs = this.#from(nowMs, sinceMs)
    this.#placedMs = Math.min(nowMs, fromMs + this.level.waitMs(fromMs))
    this.level.see(this.#placedMs)
    this.level.admit(this.#placedMs)
    this.admitted += 1
    // Looking through a window's log costs its length: its maximum says the same (see report).
    if (this.level instanceof Bucket) this.peak = Math.max(this.peak, this.level.used(this.#placedMs))
  }

  refuse(nowMs: number, sinceMs: number): void {
    this.level.see(this.#from(nowMs, sinceMs))
  }

  #from(nowMs: number, sinceMs: number): number {
    return Math.min(nowMs, Math.max(sinceMs, this.#placedMs))
  }

  forget(): void {
    this.arrivals = 0
    this.admitted = 0
    this.violations = 0
    this.peak = 0
    this.firstMs = Number.NaN
    this.lastMs = Number.NaN
    this.level.resetMaximum()
  }
}
