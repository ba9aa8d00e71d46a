import type { SourceRecord } from '../job/record.ts'
import type { Beyond } from './beyond.ts'

/** One partition of a topic. A source that has no such thing (a file) has one partition per file. */
export interface Partition {
  readonly topic: string
  readonly partition: number
}

/** How far an assignment has come. `offset` is the next one to be read: everything below it is finished. */
export interface Position extends Partition {
  readonly epoch: number
  readonly offset: number
  /** What is finished beyond `offset` (see beyond.ts), empty when nothing is; given back when the partition is assigned again. */
  readonly beyond: string
}

/** Records that stand between the committed place and the end of a partition. */
export interface PartitionLag extends Partition {
  readonly records: number
}

/**
 * What a source tells. All calls are synchronous, must not throw, and come in this order for one partition: onAssigned,
 * any number of onRecords, onLost. An epoch names one assignment: a partition that is lost and comes back has a new one.
 */
export interface SourceHandlers {
  /** `beyond`: what was committed with the place that it begins at. */
  onAssigned(partition: Partition, epoch: number, beyond?: Beyond): void
  /**
   * Records in ascending order. A source may repeat what it delivered before in the same epoch (a rewind). `next` is where
   * it reads on; it may be beyond the last record (compacted or control records, blank lines).
   */
  onRecords(partition: Partition, epoch: number, records: readonly SourceRecord[], next: number): void
  /** From here on commits of that epoch are refused: somebody else may own the partition. */
  onLost(partition: Partition, epoch: number): void
  /**
   * `started`: assignments are about to change; the last moment for a commit. `finished`: they are known again (there may be
   * none, when there are more daemons than partitions).
   */
  onRebalance(phase: 'started' | 'finished'): void
  /** The source has ended for good and cannot go on by itself: the process should exit and be started again. */
  onFatal(error: Error): void
  /** Everything has been read for now; called again when that becomes true again. Never called by an endless source. */
  onEnd(): void
}

/**
 * Where records come from. `start` resolves when the source is connected; assignments follow as they come. All methods may
 * be called before an assignment and after a loss; what names a partition that is not ours is ignored.
 */
export interface Source {
  start(handlers: SourceHandlers): Promise<void>
  /** No more records of these partitions until resumed; a call that is under way may still deliver. Survives a rebalance. */
  pause(partitions: readonly Partition[]): void
  resume(partitions: readonly Partition[]): void
  /**
   * Stores positions durably. Resolves with those that were stored: a position of a stale epoch is refused and left out.
   * Rejects when nothing could be stored (the service is away, a rebalance is under way): try again later.
   */
  commit(positions: readonly Position[]): Promise<readonly Position[]>
  /** Where known; partitions without a figure are left out. */
  lag(): readonly PartitionLag[]
  /**
   * Records of a topic that are not committed, in all its partitions, whoever owns them, as they were some seconds ago at most (a
   * file's are estimated by its bytes); undefined while it is not known.
   */
  backlog(topic: string): number | undefined
  /** True when nothing is left to be read now, apart from the partitions in `except`. An endless source never is. */
  exhausted(except: readonly Partition[]): Promise<boolean>
  /** Leaves and closes. What is not committed will be delivered again to whoever comes next. Idempotent. */
  stop(): Promise<void>
}

/** A map key for a partition. Topic names hold no `/`, in Kafka as in file names. */
export function partitionKey(partition: Partition): string {
  return `${partition.topic}/${partition.partition}`
}
