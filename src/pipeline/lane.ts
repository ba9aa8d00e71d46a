/** How much a job's wait is worth: after this long it ranks like a fresh job of the next priority. */
export const AGEING_STEP_MS = 30_000

export interface LaneEntry {
  /** 1 to 10, 10 first. */
  readonly priority: number
  /** When the job was taken in, Unix ms: its age counts from there, also when it waits a second time. */
  readonly sinceMs: number
}

interface Slot<T> {
  readonly rank: number
  readonly sequence: number
  readonly entry: T
}

/**
 * The queue of one endpoint: highest priority first, ageing upwards, the oldest first among equals.
 *
 * All entries age at the same pace, so their order never changes while they wait: `since − priority × step` ranks them
 * once and for all, and a binary heap holds them (O(log n) a push or shift). With the default step a job of priority 1
 * goes ahead of every job of priority 10 that came four and a half minutes after it.
 */
export class Lane<T extends LaneEntry> {
  #heap: Slot<T>[] = []
  #sequence = 0

  get size(): number {
    return this.#heap.length
  }

  push(entry: T): void {
    const rank = entry.sinceMs - entry.priority * AGEING_STEP_MS
    this.#heap.push({ rank, sequence: this.#sequence++, entry })
    this.#rise(this.#heap.length - 1)
  }

  /** The entry that is next, left in place. */
  peek(): T | undefined {
    return this.#heap[0]?.entry
  }

  /** Takes the entry that is next. */
  shift(): T | undefined {
    const first = this.#heap[0]
    const last = this.#heap.pop()
    if (first === undefined || last === undefined) return undefined
    if (this.#heap.length > 0) {
      this.#heap[0] = last
      this.#sink(0)
    }
    return first.entry
  }

  /** Takes out every entry that matches, in no particular order. O(n). */
  remove(matches: (entry: T) => boolean): T[] {
    const removed: T[] = []
    const kept: Slot<T>[] = []
    for (const slot of this.#heap) {
      if (matches(slot.entry)) removed.push(slot.entry)
      else kept.push(slot)
    }
    if (removed.length === 0) return removed
    this.#heap = kept
    for (let i = (kept.length >> 1) - 1; i >= 0; i--) this.#sink(i)
    return removed
  }

  #rise(from: number): void {
    const heap = this.#heap
    let i = from
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(heap[i]!, heap[parent]!)) return
      swap(heap, i, parent)
      i = parent
    }
  }

  #sink(from: number): void {
    const heap = this.#heap
    let i = from
    for (;;) {
      const left = 2 * i + 1
      if (left >= heap.length) return
      const right = left + 1
      const child = right < heap.length && before(heap[right]!, heap[left]!) ? right : left
      if (!before(heap[child]!, heap[i]!)) return
      swap(heap, i, child)
      i = child
    }
  }
}

function before<T>(a: Slot<T>, b: Slot<T>): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.sequence < b.sequence)
}

function swap<T>(heap: T[], i: number, j: number): void {
  const held = heap[i]!
  heap[i] = heap[j]!
  heap[j] = held
}
