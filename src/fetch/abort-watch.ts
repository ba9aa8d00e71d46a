import type { Exchange } from './exchange.ts'

/**
 * Ends exchanges when their signal is aborted, with one listener per signal however many share it: thousands of requests
 * may hang on the signal of one partition, and a signal looks through all of its listeners for every one that is added.
 * The listener goes when the last of them has ended; a composite signal would otherwise be kept alive by it.
 */
export class AbortWatch {
  readonly #watched = new WeakMap<AbortSignal, { exchanges: Set<Exchange>; listener: () => void }>()

  add(exchange: Exchange): void {
    const { signal } = exchange
    const known = this.#watched.get(signal)
    if (known !== undefined) {
      known.exchanges.add(exchange)
      return
    }
    const exchanges = new Set([exchange])
    const listener = () => {
      this.#watched.delete(signal)
      for (const each of exchanges) each.fail(signal.reason)
    }
    this.#watched.set(signal, { exchanges, listener })
    signal.addEventListener('abort', listener, { once: true })
  }

  remove(exchange: Exchange): void {
    const known = this.#watched.get(exchange.signal)
    if (known === undefined) return
    known.exchanges.delete(exchange)
    if (known.exchanges.size > 0) return
    this.#watched.delete(exchange.signal)
    exchange.signal.removeEventListener('abort', known.listener)
  }
}
