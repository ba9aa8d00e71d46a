const TICK_MS = 25
/** Connections are accepted in one turn of the event loop, what they say is read in the next. */
const TICKS_TO_CATCH_UP = 2
/** Later than this a tick is no chance of timers: the process, or all of the machine, stood still. */
const LATE_MS = 200

/**
 * Knows since when an event loop has not looked at its sockets: after a standstill they are handed over all at once, and nobody can
 * tell which of them came when. Times are `performance.now()`'s.
 */
export class Standstill {
  #timer: NodeJS.Timeout | undefined
  #awakeMs = performance.now()
  /** Where the standstill began whose arrivals may still be waiting to be handed over. */
  #beganMs: number | undefined
  #ticksInTime = 0

  /** Begins to look. Twice is once; keeps no process alive. */
  start(): void {
    if (this.#timer !== undefined) return
    this.#awakeMs = performance.now()
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#beganMs = undefined
  }

  /** For how long, ms, what is handed over now may have been waiting. 0 without a standstill. */
  waitedMs(): number {
    if (this.#timer === undefined) return 0
    const nowMs = performance.now()
    const beganMs = this.#beganMs ?? (nowMs - this.#awakeMs > LATE_MS ? this.#awakeMs : nowMs)
    return nowMs - beganMs
  }

  #tick(): void {
    const nowMs = performance.now()
    if (nowMs - this.#awakeMs > LATE_MS) {
      this.#beganMs ??= this.#awakeMs
      this.#ticksInTime = 0
    } else if (++this.#ticksInTime >= TICKS_TO_CATCH_UP) this.#beganMs = undefined
    this.#awakeMs = nowMs
  }
}
