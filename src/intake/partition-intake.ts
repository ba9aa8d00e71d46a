import type { SourceRecord } from '../job/record.ts'
import type { FinishedBefore } from './beyond.ts'
import { Ledger } from './ledger.ts'
import type { OpenDelivery } from './open-delivery.ts'
import type { Partition } from './source.ts'

/** A record that waits to be handed out. */
export interface Waiting {
  readonly record: SourceRecord
  /** Unix ms; 0 for what is due at once. */
  readonly dueAtMs: number
}

/** Objects, maps and list entries around the bytes of a record. */
const OVERHEAD_BYTES = 256

/**
 * What the intake knows of one partition in one assignment. `waiting` is first in, first out; `due` wakes the intake when the
 * head's time has come; `open` are the handed ones that are not settled, by offset.
 */
export class PartitionIntake {
  readonly partition: Partition
  readonly epoch: number
  readonly isRetry: boolean
  readonly ledger: Ledger
  readonly open = new Map<number, OpenDelivery>()
  readonly #control = new AbortController()
  #waiting: Waiting[] = []
  #head = 0
  #dueTimer: NodeJS.Timeout | undefined
  #dueFor: Waiting | undefined
  #spanFull = false
  /** What the source was told last. */
  paused = false

  /** `before`: what an assignment before this one had finished. */
  constructor(partition: Partition, epoch: number, isRetry: boolean, before: FinishedBefore | undefined) {
    this.ledger = new Ledger(before)
    this.partition = partition
    this.epoch = epoch
    this.isRetry = isRetry
  }

  /** Aborted when the assignment ends. */
  get lost(): AbortSignal {
    return this.#control.signal
  }

  get head(): Waiting | undefined {
    return this.#waiting[this.#head]
  }

  /** How many records wait here. */
  get length(): number {
    return this.#waiting.length - this.#head
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting)
  }

  shift(): Waiting {
    const first = this.#waiting[this.#head]!
    this.#head += 1
    // Array.shift would move all the rest each time; this moves them once per doubling.
    if (this.#head > 64 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** True while the partition's span is at its bound, until half of it is finished. */
  isSpanFull(spanMax: number): boolean {
    const span = this.ledger.span
    this.#spanFull = this.#spanFull ? span > spanMax / 2 : span >= spanMax
    return this.#spanFull
  }

  /** True when `isSpanFull` says something else than it did last. */
  spanChanges(spanMax: number): boolean {
    const wasFull = this.#spanFull
    return this.isSpanFull(spanMax) !== wasFull
  }

  /** True when the head has to wait for its time. */
  isEarly(nowMs: number): boolean {
    const { head } = this
    return head !== undefined && head.dueAtMs > nowMs
  }

  /** Calls `wake` when the head is due; may be called again and again. */
  wakeWhenDue(nowMs: number, wake: () => void): void {
    const { head } = this
    if (head === undefined || head.dueAtMs <= nowMs || head === this.#dueFor) return
    this.#dueFor = head
    clearTimeout(this.#dueTimer)
    // One millisecond more: a timer may fire a little before its time, and the head would not be due yet.
    this.#dueTimer = setTimeout(
      () => {
        this.#dueFor = undefined
        wake()
      },
      head.dueAtMs - nowMs + 1,
    )
  }

  /** The partition is no longer ours: whoever works on its records may stop. Empties all and returns what was handed out. */
  lose(): readonly OpenDelivery[] {
    clearTimeout(this.#dueTimer)
    const open = [...this.open.values()]
    this.#waiting = []
    this.#head = 0
    // Emptied first: who settles when it is aborted must find nothing.
    this.open.clear()
    this.#control.abort(new Error('the partition was given to another daemon'))
    return open
  }
}

/** What a record costs in memory. */
export function bytesOf(record: SourceRecord): number {
  let bytes = OVERHEAD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0)
  for (const name of Object.keys(record.headers)) {
    const value = record.headers[name]!
    bytes += 2 * name.length
    for (const one of Buffer.isBuffer(value) ? [value] : value) bytes += one.length
  }
  return bytes
}
