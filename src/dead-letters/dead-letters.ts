import type { SourceRecord } from '../job/record.ts'
import type { LetterId } from './letter.ts'
import type { Replayed } from './replayed.ts'

/** Takes one record; when it returns a promise, nothing more is read until that is fulfilled. */
export type Take = (record: SourceRecord) => void | Promise<void>

/**
 * The dead letters that stand there when it is opened: what comes later is not seen, so two readings see the same. Letters are
 * handed over one at a time and never held. Only reads: nothing is committed, moved or deleted.
 *
 * All methods reject with the signal's reason when it is aborted (a `take` that is under way is waited for), with what `take`
 * rejects with, and with ServiceAwayError when the service goes away.
 */
export interface DeadLetters {
  /** What they are called in a sentence: the topic, or the file. */
  readonly name: string
  /** All letters; those of one partition in their order. */
  each(take: Take, signal: AbortSignal): Promise<void>
  /** Those with these ids, in the order of each partition; one that is not there is left out. */
  pick(ids: readonly LetterId[], take: Take, signal: AbortSignal): Promise<void>
  /** Which of them were sent back before. */
  replayed(signal: AbortSignal): Promise<Replayed>
  /** Idempotent. */
  close(): Promise<void>
}

/** Ids by partition, for a reading that passes over their whole span. */
export interface Span {
  readonly from: number
  /** The offset of the last one. */
  readonly last: number
  readonly offsets: ReadonlySet<number>
}

export function spansOf(ids: readonly LetterId[]): Map<number, Span> {
  const offsets = new Map<number, Set<number>>()
  for (const { partition, offset } of ids) {
    const known = offsets.get(partition) ?? new Set()
    offsets.set(partition, known.add(offset))
  }
  return new Map(
    [...offsets].map(([partition, set]) => {
      const sorted = [...set].sort((a, b) => a - b)
      return [partition, { from: sorted[0]!, last: sorted.at(-1)!, offsets: set }]
    }),
  )
}
