import { sleep } from '../lib/abort.ts'

/** How many may go at once, so that a pace is a flow and not a lurch: a tenth of a second's. */
const PARTS_OF_A_SECOND = 10

/** Spreads things over time: `perSecond` of them, evenly; undefined is as fast as it goes. */
export class Pace {
  readonly #perSecond: number | undefined
  readonly #now: () => number
  /** When the next may go, in ms of the clock. */
  #nextMs = 0

  /** `now`: a clock in ms that only goes forward. */
  constructor(perSecond: number | undefined, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#now = now
  }

  /** At most this many in one go. */
  atOnce(max: number): number {
    if (this.#perSecond === undefined) return max
    return Math.min(max, Math.max(1, Math.floor(this.#perSecond / PARTS_OF_A_SECOND)))
  }

  /** Resolves when so many may go; rejects with the signal's reason. */
  async wait(count: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#perSecond === undefined) return
    const nowMs = this.#now()
    const atMs = Math.max(this.#nextMs, nowMs)
    this.#nextMs = atMs + (count / this.#perSecond) * 1_000
    if (atMs > nowMs) await sleep(atMs - nowMs, signal)
  }
}
