import { setTimeout as sleep } from 'node:timers/promises'

/** Different answers that wait to be made anew; who comes when there are more is asked for again by the next caller. */
const WAITING_MAX = 1_000

/**
 * Makes answers anew one after the other, with a pause after each as long as it took: what nobody waits for takes half of a query's
 * share of the database at most, and none of what callers wait for.
 */
export class Renewals {
  readonly #waiting = new Map<string, () => Promise<unknown>>()
  #working = false

  waits(id: string): boolean {
    return this.#waiting.has(id)
  }

  /** In the order of their coming; one that waits already is not added again. */
  add(id: string, make: () => Promise<unknown>): void {
    if (this.#waiting.has(id) || this.#waiting.size >= WAITING_MAX) return
    this.#waiting.set(id, make)
    if (!this.#working) void this.#work()
  }

  async #work(): Promise<void> {
    this.#working = true
    for (;;) {
      const next = this.#waiting.entries().next()
      if (next.done === true) break
      const [id, make] = next.value
      const startedMs = performance.now()
      // It failed: what is kept goes on being given out, and the next caller tries again.
      await make().catch(() => {})
      // Until now: who asks while it is made need not ask for it again.
      this.#waiting.delete(id)
      if (this.#waiting.size > 0) await sleep(performance.now() - startedMs, undefined, { ref: false })
    }
    this.#working = false
  }
}
