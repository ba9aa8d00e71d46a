import type { TableName } from '../job/row.ts'
import type { Parcel } from './encode.ts'

/** When a batch is ready to be sent. */
export interface BatchLimits {
  /** It holds this many rows, */
  readonly rowsMax: number
  /** or this many bytes, */
  readonly bytesMax: number
  /** or its first parcel has waited this long. */
  readonly ageMs: number
}

const NONE: ReadonlySet<TableName> = new Set()

/** Parcels for one partition of one table, in the order in which they came. */
export interface Gathered<Item extends { readonly parcel: Parcel }> {
  readonly table: TableName
  readonly items: Item[]
  rows: number
  bytes: number
  /** When the first parcel came. */
  readonly sinceMs: number
}

/**
 * Sorts parcels into batches, one open per partition of a table. A batch is open → ready (full, or old enough) → taken. An
 * old one goes on gathering until somebody takes it, so a slow engine gets larger batches rather than more of them.
 * Pure: knows no clock and no timer. Not bounded by itself: see Room.
 */
export class Gathering<Item extends { readonly parcel: Parcel }> {
  readonly #limits: BatchLimits
  /** By table and partition, oldest first: a full one is taken out, and its successor enters at the end. */
  readonly #open = new Map<string, Gathered<Item>>()
  /** Oldest first. */
  readonly #full: Gathered<Item>[] = []

  constructor(limits: BatchLimits) {
    this.#limits = limits
  }

  add(item: Item, nowMs: number): void {
    const { table, partition, rows, bytes } = item.parcel
    const { rowsMax, bytesMax } = this.#limits
    const key = `${table} ${partition}`
    let batch = this.#open.get(key)
    // Limits are never passed, except by a parcel that is too large all by itself.
    if (batch !== undefined && (batch.rows + rows > rowsMax || batch.bytes + bytes > bytesMax)) {
      this.#close(key, batch)
      batch = undefined
    }
    if (batch === undefined) {
      batch = { table, items: [], rows: 0, bytes: 0, sinceMs: nowMs }
      this.#open.set(key, batch)
    }
    batch.items.push(item)
    batch.rows += rows
    batch.bytes += bytes
    if (batch.rows >= rowsMax || batch.bytes >= bytesMax) this.#close(key, batch)
  }

  /**
   * Takes out the ready batch that began first, be it full or old, so that a busy table does not starve a quiet one.
   * With `flush`, every batch counts as old. Those of `but` stay.
   */
  take(nowMs: number, flush: boolean, but: ReadonlySet<TableName> = NONE): Gathered<Item> | undefined {
    const at = this.#full.findIndex((batch) => !but.has(batch.table))
    const full = this.#full[at]
    for (const [key, oldest] of this.#open) {
      if (but.has(oldest.table)) continue
      const old = flush || nowMs - oldest.sinceMs >= this.#limits.ageMs
      if (!old || (full !== undefined && full.sinceMs <= oldest.sinceMs)) break
      this.#open.delete(key)
      return oldest
    }
    if (full !== undefined) this.#full.splice(at, 1)
    return full
  }

  /** When the next batch gets old, on the clock of `add`, of tables other than `but`; undefined when none is open. */
  nextOldAtMs(but: ReadonlySet<TableName> = NONE): number | undefined {
    for (const { table, sinceMs } of this.#open.values()) {
      if (!but.has(table)) return sinceMs + this.#limits.ageMs
    }
    return undefined
  }

  #close(key: string, batch: Gathered<Item>): void {
    this.#open.delete(key)
    this.#full.push(batch)
  }
}
