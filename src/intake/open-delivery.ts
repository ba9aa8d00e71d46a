import type { Delivery, SourceRecord } from '../job/record.ts'

/**
 * A delivery that is handed out and not settled. Each has a signal of its own, made when somebody asks for it: adding a
 * listener to an AbortSignal costs time in proportion to those it has, and one signal for a whole partition, with some
 * thousand jobs on it, took a third of the CPU in a measurement of publishing.
 */
export class OpenDelivery implements Delivery {
  readonly record: SourceRecord
  /** What the record costs in memory. */
  readonly bytes: number
  /** Bound: may be passed around on its own. */
  readonly settle: () => void
  #lost: AbortController | undefined
  #reason: Error | undefined

  constructor(record: SourceRecord, bytes: number, onSettled: (delivery: OpenDelivery) => void) {
    this.record = record
    this.bytes = bytes
    this.settle = () => onSettled(this)
  }

  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController()
      if (this.#reason !== undefined) this.#lost.abort(this.#reason)
    }
    return this.#lost.signal
  }

  lose(reason: Error): void {
    this.#reason = reason
    this.#lost?.abort(reason)
  }
}
