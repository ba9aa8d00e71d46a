import type { Delivery, SourceRecord } from '../job/record.ts'

/** A delivery that is handed out and not settled. Its signal is that of its partition's assignment, shared by all of them. */
export class OpenDelivery implements Delivery {
  readonly record: SourceRecord
  readonly lost: AbortSignal
  readonly bytes: number
  /** Bound: may be passed around on its own. */
  readonly settle: () => void
  readonly #holdsUp: () => boolean

  constructor(
    fields: { record: SourceRecord; bytes: number; lost: AbortSignal; holdsUp: () => boolean },
    onSettled: (delivery: OpenDelivery) => void,
  ) {
    this.record = fields.record
    this.bytes = fields.bytes
    this.lost = fields.lost
    this.#holdsUp = fields.holdsUp
    this.settle = () => onSettled(this)
  }

  get holdsUp(): boolean {
    return this.#holdsUp()
  }
}
