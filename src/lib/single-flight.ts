import { onAbort } from './abort.ts'

interface Flight<T> {
  readonly outcome: Promise<T>
  readonly control: AbortController
  waiting: number
}

/**
 * The same work, asked for several times at once, is done once. Each caller may leave by its own signal; the work itself is
 * aborted when the last of them has left. Nothing is remembered after it has ended.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>()

  /** How many different works are under way. */
  get size(): number {
    return this.#flights.size
  }

  /** Whether this work is under way. */
  has(key: string): boolean {
    return this.#flights.has(key)
  }

  /** Rejects as `work` does, or with the reason of `signal`. */
  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const flight = this.#flights.get(key) ?? this.#begin(key, work)
    flight.waiting++
    const left = Promise.withResolvers<never>()
    const leave = () => left.reject(signal.reason)
    const forget = onAbort(signal, leave)
    try {
      return await Promise.race([flight.outcome, left.promise])
    } finally {
      forget()
      if (--flight.waiting === 0 && this.#flights.get(key) === flight) {
        // Whoever asks from now on begins anew, whether this one ended or is being given up.
        this.#flights.delete(key)
        flight.control.abort(signal.reason)
      }
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const control = new AbortController()
    const flight: Flight<T> = { outcome: work(control.signal), control, waiting: 0 }
    // Everybody may have left before it fails.
    flight.outcome.catch(() => {})
    this.#flights.set(key, flight)
    return flight
  }
}
