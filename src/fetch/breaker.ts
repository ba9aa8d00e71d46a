/** `closed`: calls pass. `open`: none does. `probing`: one is on its way, and its result decides. */
export type BreakerState = 'closed' | 'open' | 'probing'

export interface BreakerOptions {
  /** Calls within the window below which their share of failures says nothing. Default 20. */
  readonly callsMin?: number
  /** Opens when more than this share of the calls failed. Default 0.5. */
  readonly failureRatioMax?: number
  /** Default 10 s. */
  readonly windowMs?: number
  /** From opening, or from a failed probe, to the next probe. Default 5 s. */
  readonly probeAfterMs?: number
  /** Told when it leaves `closed` (true) and when it is closed again (false); not of probes in between. */
  readonly onChange?: (open: boolean) => void
}

/** What `admit` answers when the call may not be made. */
export const REFUSED = 0

/** The window is counted in this many parts, so a call is forgotten between 9/10 and 10/10 of the window after its end. */
const PARTS = 10

/**
 * Keeps a host that fails from being called. The clock is passed in: any milliseconds that never run backwards.
 *
 * closed → open: more than half of at least 20 calls that ended within 10 s failed.
 * open → probing: `admit` lets one call pass once `probeAfterMs` are over.
 * probing → closed: the probe succeeded; counting starts afresh. probing → open: it failed. An abandoned probe
 * (aborted by its caller: it says nothing) makes the next one due at once.
 *
 * Every admission carries the number of the state it was given in, so results of calls from before a change are ignored.
 */
export class Breaker {
  readonly #callsMin: number
  readonly #failureRatioMax: number
  readonly #partMs: number
  readonly #probeAfterMs: number
  readonly #onChange: ((open: boolean) => void) | undefined
  readonly #calls = new Uint32Array(PARTS)
  readonly #failures = new Uint32Array(PARTS)
  #part = 0
  #callsSum = 0
  #failuresSum = 0
  #state: BreakerState = 'closed'
  #epoch = 1
  #probeDueMs = 0

  constructor(options: BreakerOptions = {}) {
    this.#callsMin = options.callsMin ?? 20
    this.#failureRatioMax = options.failureRatioMax ?? 0.5
    this.#partMs = (options.windowMs ?? 10_000) / PARTS
    this.#probeAfterMs = options.probeAfterMs ?? 5_000
    this.#onChange = options.onChange
  }

  get state(): BreakerState {
    return this.#state
  }

  /** How many calls may be made now, were they made at once: no bound, one probe, or none. */
  room(nowMs: number): number {
    if (this.#state === 'closed') return Number.POSITIVE_INFINITY
    return this.#state === 'open' && nowMs >= this.#probeDueMs ? 1 : 0
  }

  /** In how many ms a probe may be made: 0 when one is due or the breaker is closed; undefined while one is on its way. */
  probeInMs(nowMs: number): number | undefined {
    if (this.#state === 'probing') return undefined
    return this.#state === 'closed' ? 0 : Math.max(0, this.#probeDueMs - nowMs)
  }

  /** Asks for one call. REFUSED, or an admission that has to be given back once: to `record` or to `abandon`. */
  admit(nowMs: number): number {
    if (this.#state === 'closed') return this.#epoch
    if (this.room(nowMs) === 0) return REFUSED
    this.#state = 'probing'
    this.#epoch += 1
    return this.#epoch
  }

  /** The result of an admitted call. */
  record(admission: number, failed: boolean, nowMs: number): void {
    if (admission !== this.#epoch) return
    if (this.#state === 'probing') {
      if (failed) this.#reopen(nowMs + this.#probeAfterMs)
      else this.#close()
      return
    }
    this.#forget(nowMs)
    const index = this.#part % PARTS
    this.#calls[index]! += 1
    this.#callsSum += 1
    if (!failed) return
    this.#failures[index]! += 1
    this.#failuresSum += 1
    if (this.#callsSum >= this.#callsMin && this.#failuresSum > this.#callsSum * this.#failureRatioMax) {
      this.#reopen(nowMs + this.#probeAfterMs)
      this.#onChange?.(true)
    }
  }

  /** An admitted call ended without saying anything about the host. */
  abandon(admission: number, nowMs: number): void {
    if (admission === this.#epoch && this.#state === 'probing') this.#reopen(nowMs)
  }

  #reopen(probeDueMs: number): void {
    this.#state = 'open'
    this.#epoch += 1
    this.#probeDueMs = probeDueMs
  }

  #close(): void {
    this.#state = 'closed'
    this.#epoch += 1
    this.#calls.fill(0)
    this.#failures.fill(0)
    this.#callsSum = 0
    this.#failuresSum = 0
    this.#onChange?.(false)
  }

  /** Empties the parts that lie further back than the window. */
  #forget(nowMs: number): void {
    const part = Math.floor(nowMs / this.#partMs)
    if (part <= this.#part) return
    for (let next = Math.max(this.#part + 1, part - PARTS + 1); next <= part; next += 1) {
      const index = next % PARTS
      this.#callsSum -= this.#calls[index]!
      this.#failuresSum -= this.#failures[index]!
      this.#calls[index] = 0
      this.#failures[index] = 0
    }
    this.#part = part
  }
}
