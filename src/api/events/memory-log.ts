import { type ApiEvent, isAfter, type StoredEvent } from './event.ts'
import { EVENTS_KEPT_MAX, type EventLog } from './event-log.ts'

/** The events of one process, for one process. */
export class MemoryLog implements EventLog {
  readonly healthy = true
  readonly #keptMax: number
  readonly #listeners = new Set<(stored: StoredEvent) => void>()
  #kept: StoredEvent[] = []
  /** The newest event that is forgotten. */
  #forgotten: string
  #last: { readonly ms: number; readonly seq: number }

  constructor(options: { readonly keptMax?: number } = {}) {
    this.#keptMax = options.keptMax ?? EVENTS_KEPT_MAX
    this.#last = { ms: Date.now(), seq: 0 }
    // Ids of an earlier process are from before this one: what came in between, nobody knows.
    this.#forgotten = `${this.#last.ms}-0`
  }

  async append(events: readonly ApiEvent[]): Promise<void> {
    for (const event of events) {
      const ms = Math.max(Date.now(), this.#last.ms)
      this.#last = { ms, seq: ms === this.#last.ms ? this.#last.seq + 1 : 0 }
      const stored = { id: `${this.#last.ms}-${this.#last.seq}`, event }
      this.#kept.push(stored)
      for (const listener of this.#listeners) listener(stored)
    }
    // Cut in halves, not one by one: moving the rest costs as much for one as for thousands.
    if (this.#kept.length <= 2 * this.#keptMax) return
    const forgotten = this.#kept.length - this.#keptMax
    this.#forgotten = this.#kept[forgotten - 1]!.id
    this.#kept = this.#kept.slice(forgotten)
  }

  async after(id: string) {
    return {
      events: this.#kept.filter((stored) => isAfter(stored.id, id)),
      complete: !isAfter(this.#forgotten, id),
    }
  }

  subscribe(listener: (stored: StoredEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#listeners.clear()
  }
}
