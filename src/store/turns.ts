/**
 * At most `max` at a time; the others wait their turn, first come first served. The queue is as long as there are callers:
 * whoever calls is expected to be bounded.
 */
export class Turns {
  readonly #max: number
  #taken = 0
  readonly #waiting = new Set<() => void>()

  constructor(max: number) {
    this.#max = max
  }

  /** Runs `work` when it is its turn. Rejects with the signal's reason when aborted while waiting. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#take(signal)
    try {
      return await work()
    } finally {
      this.#giveBack()
    }
  }

  async #take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (this.#taken < this.#max) {
      this.#taken++
      return
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const aborted = () => {
      this.#waiting.delete(resolve)
      reject(signal?.reason)
    }
    this.#waiting.add(resolve)
    signal?.addEventListener('abort', aborted, { once: true })
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', aborted)
    }
  }

  /** The place goes straight to the next in line, so that nobody can slip in between. */
  #giveBack(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#taken--
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
