import { performance } from 'node:perf_hooks'

export interface Liveness {
  readonly alive: boolean
  /** The longest that the loop has stood still within the time looked at, in ms; 0 when it never did. */
  readonly standstillMs: number
}

/**
 * Tells whether the event loop turns. A server on that very loop cannot say "I stand still" while it does: it says nothing,
 * and the prober's own time-out is the answer. What would be a lie is the moment after: the loop turns again, the waiting
 * probe is answered at once, and all looks well. So every stand-still is measured when it ends, and one longer than the
 * bound is reported for as long as the bound itself. A daemon that stood still once fails about one probe, which an
 * orchestrator forgives; one that keeps standing still fails them all and is restarted.
 */
export class Heartbeat {
  readonly #intervalMs: number
  readonly #standstillMsMax: number
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined
  #lastBeatMs = 0
  #standstill: { readonly lengthMs: number; readonly endedMs: number } | undefined

  /**
   * `standstillMsMax`: default 10,000. `intervalMs` between beats: default 500. `now`: a monotonic clock, so that neither a
   * step of the wall clock nor a suspended laptop looks like a stand-still.
   */
  constructor(options: { standstillMsMax?: number; intervalMs?: number; now?: () => number } = {}) {
    this.#standstillMsMax = options.standstillMsMax ?? 10_000
    this.#intervalMs = options.intervalMs ?? 500
    this.#now = options.now ?? (() => performance.now())
  }

  start(): void {
    if (this.#timer !== undefined) return
    this.#lastBeatMs = this.#now()
    this.#standstill = undefined
    this.#timer = setInterval(() => this.beat(), this.#intervalMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Notes that the loop turns. Called by the timer, and by every check: who checks is running, too. */
  beat(): void {
    const now = this.#now()
    const lengthMs = now - this.#lastBeatMs - this.#intervalMs
    this.#lastBeatMs = now
    if (lengthMs > this.#standstillMsMax) this.#standstill = { lengthMs, endedMs: now }
  }

  check(): Liveness {
    this.beat()
    const standstill = this.#standstill
    if (standstill === undefined || this.#now() - standstill.endedMs > this.#standstillMsMax) {
      return { alive: true, standstillMs: 0 }
    }
    return { alive: false, standstillMs: Math.round(standstill.lengthMs) }
  }
}
