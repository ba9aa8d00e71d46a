import { type Partition, type PartitionLag, type Position, partitionKey } from './source.ts'

interface Assignment extends Partition {
  epoch: number
  next: number | undefined
  low: number
  end: number | undefined
  committed: number | undefined
}

export interface Changes {
  readonly lost: readonly (Partition & { readonly epoch: number })[]
  readonly assigned: readonly (Partition & { readonly epoch: number })[]
  /** `next` is where an assignment that goes on has been read to. */
  readonly kept: readonly (Partition & { readonly next: number | undefined })[]
}

/**
 * Which partitions a group member owns, each under an epoch.
 *
 * A partition that is in two assignments running keeps its epoch while the member id is the same: it was ours all the
 * time, and thousands of jobs need not be done again because a daemon joined. A new member id means that the group had
 * given us up and anybody may have owned the partition since: everything is lost and assigned afresh.
 */
export class Assignments {
  readonly #owned = new Map<string, Assignment>()
  #memberId = ''
  #epoch = 0

  /** The outcome of a join, as the group's coordinator said it. */
  joined(memberId: string, assignment: Readonly<Record<string, readonly number[]>>): Changes {
    const lost: (Partition & { epoch: number })[] = []
    const assigned: (Partition & { epoch: number })[] = []
    const kept: (Partition & { next: number | undefined })[] = []
    const named = new Map<string, Partition>()
    for (const [topic, partitions] of Object.entries(assignment)) {
      for (const partition of partitions) named.set(partitionKey({ topic, partition }), { topic, partition })
    }
    for (const [key, { topic, partition, epoch, next }] of this.#owned) {
      if (memberId === this.#memberId && named.has(key)) {
        kept.push({ topic, partition, next })
        continue
      }
      this.#owned.delete(key)
      lost.push({ topic, partition, epoch })
    }
    for (const [key, partition] of named) {
      if (!this.#owned.has(key)) assigned.push(this.#own(partition))
    }
    this.#memberId = memberId
    return { lost, assigned, kept }
  }

  /** Gives one partition a new epoch. */
  renew(partition: Partition): Pick<Changes, 'lost' | 'assigned'> | undefined {
    const owned = this.#owned.get(partitionKey(partition))
    if (owned === undefined) return undefined
    return { lost: [{ ...partition, epoch: owned.epoch }], assigned: [this.#own(partition)] }
  }

  /** Forgets all; returns what was owned. */
  clear(): Changes['lost'] {
    const lost = [...this.#owned.values()].map(({ topic, partition, epoch }) => ({ topic, partition, epoch }))
    this.#owned.clear()
    return lost
  }

  all(): Partition[] {
    return [...this.#owned.values()].map(({ topic, partition }) => ({ topic, partition }))
  }

  epochOf(partition: Partition): number | undefined {
    return this.#owned.get(partitionKey(partition))?.epoch
  }

  owns(partition: Partition, epoch: number): boolean {
    return this.epochOf(partition) === epoch
  }

  /** True when the partition ends before what was read of it: its topic was deleted and made anew. */
  wasCut(partition: Partition, end: number): boolean {
    const next = this.#owned.get(partitionKey(partition))?.next
    return next !== undefined && end < next
  }

  read(partition: Partition, next: number, end: number): void {
    const owned = this.#owned.get(partitionKey(partition))
    if (owned === undefined) return
    owned.next = Math.max(owned.next ?? next, next)
    owned.end = end
  }

  /** The oldest record that is still there, and the place after the newest. */
  ends(partition: Partition, low: number, high: number): void {
    const owned = this.#owned.get(partitionKey(partition))
    if (owned === undefined) return
    owned.low = low
    owned.end = Math.max(owned.end ?? 0, high)
  }

  committed(position: Omit<Position, 'epoch' | 'beyond'>): void {
    const owned = this.#owned.get(partitionKey(position))
    if (owned !== undefined) owned.committed = Math.max(owned.committed ?? 0, position.offset)
  }

  /** Partitions whose end is unknown are left out; one that was never committed lags by all that it holds. */
  lag(): PartitionLag[] {
    const lags: PartitionLag[] = []
    for (const { topic, partition, low, end, committed } of this.#owned.values()) {
      if (end !== undefined)
        lags.push({ topic, partition, records: Math.max(0, end - Math.max(committed ?? 0, low)) })
    }
    return lags
  }

  #own(partition: Partition): Partition & { epoch: number } {
    this.#epoch += 1
    this.#owned.set(partitionKey(partition), {
      topic: partition.topic,
      partition: partition.partition,
      epoch: this.#epoch,
      next: undefined,
      low: 0,
      end: undefined,
      committed: undefined,
    })
    return { topic: partition.topic, partition: partition.partition, epoch: this.#epoch }
  }
}
