import { encodeBeyond, type FinishedBefore } from './beyond.ts'

/** A place up to which everything is finished, and how many records of this ledger lie below it. */
export interface Committable {
  readonly offset: number
  readonly sequence: number
  /** How many records of this ledger are finished, in whatever order. */
  readonly finished: number
}

/**
 * What became of the records of one partition in one assignment (epoch): which are unfinished, and up to where all are.
 *
 * Offsets are taken in ascending order, so whatever lies below `next` was seen before in this epoch, whether finished or
 * not: a rewind needs no other memory than that one number. The unfinished stand in a Map, which keeps insertion order, and
 * ascending insertion makes its first key the smallest. Memory follows what is unfinished, not the span.
 *
 * What was finished beyond the committed offset in an assignment before is known from that commit, and finished here too.
 *
 * A ledger dies with its epoch. It must never be carried over to another assignment.
 */
export class Ledger {
  /** offset → its sequence number, counted from 0 in this ledger. */
  readonly #unfinished = new Map<number, number>()
  /**
   * Walks over the keys exactly once. A Map's iterator stays valid over inserts and deletes and never returns to what it
   * has passed, so finding the next smallest costs O(1) on average; starting over each time would crawl over the holes.
   */
  #walk: MapIterator<number> | undefined
  #first: number | undefined
  #next: number | undefined
  #taken = 0
  #finished = 0
  #committed: Committable | undefined
  readonly #before: FinishedBefore | undefined

  constructor(before?: FinishedBefore) {
    this.#before = before
  }

  /** Notes a record as taken. False: it was taken before in this epoch (a rewind), or finished in an earlier one; leave it alone. */
  take(offset: number, timestampMs: number): boolean {
    if (this.#next !== undefined && offset < this.#next) return false
    this.#next = offset + 1
    if (this.#before?.has(offset, timestampMs) === true) {
      this.#taken += 1
      this.#finished += 1
      return false
    }
    this.#unfinished.set(offset, this.#taken)
    this.#taken += 1
    this.#first ??= offset
    return true
  }

  /** There is nothing to be taken below `next`: gaps after the last record (compaction, control records, blank lines). */
  skipTo(next: number): void {
    if (this.#next !== undefined && next > this.#next) this.#next = next
  }

  /** Notes a record as finished. False: it was not open. */
  finish(offset: number): boolean {
    if (!this.#unfinished.delete(offset)) return false
    this.#finished += 1
    if (offset === this.#first) this.#advance()
    return true
  }

  /** The smallest unfinished offset, else the one after the last; undefined when nothing was finished since the last commit. */
  committable(): Committable | undefined {
    const offset = this.#first ?? this.#next
    if (offset === undefined) return undefined
    const [finished, before] = [this.#finished, this.#committed]
    if (before === undefined ? finished === 0 : finished === before.finished && offset <= before.offset)
      return undefined
    return { offset, sequence: this.#finishedSequence(), finished }
  }

  /** What is finished beyond the smallest unfinished offset, to be stored with it; empty when nothing is. */
  beyond(nowMs: number): string {
    const offset = this.#first ?? this.#next
    if (offset === undefined || this.#next === undefined) return ''
    return encodeBeyond(offset, this.#next, this.#unfinished.keys(), nowMs, this.#before)
  }

  /** Notes that a place got committed; returns how many records that covers anew. */
  markCommitted(place: Committable): number {
    const before = this.#committed
    if (before !== undefined && place.finished <= before.finished && place.offset <= before.offset) return 0
    this.#committed = place
    return place.sequence - (before?.sequence ?? 0)
  }

  /** Where the partition is read on; undefined before the first record. */
  get next(): number | undefined {
    return this.#next
  }

  get unfinished(): number {
    return this.#unfinished.size
  }

  /** Records from the smallest unfinished one to the newest: what would be repeated after a crash. */
  get span(): number {
    return this.#taken - this.#finishedSequence()
  }

  /** How many records lie below the smallest unfinished one. */
  #finishedSequence(): number {
    return this.#first === undefined ? this.#taken : this.#unfinished.get(this.#first)!
  }

  #advance(): void {
    if (this.#unfinished.size === 0) {
      // An iterator that has reached the end stays there, so the next one starts afresh.
      this.#walk = undefined
      this.#first = undefined
      return
    }
    this.#walk ??= this.#unfinished.keys()
    this.#first = this.#walk.next().value
  }
}
