const MINUTE_MS = 60_000
const MINUTES = 60

/**
 * Counts the calls of the last hour, in a counter for each minute: the minute that runs and the 59 before it. Times are ms from 0
 * on, on one clock that never goes back.
 */
export class RollingHour {
  readonly #counts = new Float64Array(MINUTES)
  /** The minute that runs, counted from the clock's zero. */
  #minute = 0
  #total = 0

  add(nowMs: number): void {
    this.#turn(nowMs)
    this.#counts[this.#minute % MINUTES]! += 1
    this.#total += 1
  }

  total(nowMs: number): number {
    this.#turn(nowMs)
    return this.#total
  }

  #turn(nowMs: number): void {
    const minute = Math.floor(nowMs / MINUTE_MS)
    for (let ended = Math.max(this.#minute, minute - MINUTES) + 1; ended <= minute; ended++) {
      this.#total -= this.#counts[ended % MINUTES]!
      this.#counts[ended % MINUTES] = 0
    }
    this.#minute = minute
  }
}
