import type { Partition, Position, Source, SourceHandlers } from '../../src/intake/source.ts'
import type { RecordHeaders, SourceRecord } from '../../src/job/record.ts'

/** A source that does what the test says, and remembers what it was told. */
export class ScriptedSource implements Source {
  handlers!: SourceHandlers
  readonly paused = new Set<string>()
  readonly commits: Position[] = []
  commitError: Error | undefined
  stops = 0

  async start(handlers: SourceHandlers): Promise<void> {
    this.handlers = handlers
    handlers.onRebalance('finished')
  }

  pause(partitions: readonly Partition[]): void {
    for (const { topic, partition } of partitions) this.paused.add(`${topic}/${partition}`)
  }

  resume(partitions: readonly Partition[]): void {
    for (const { topic, partition } of partitions) this.paused.delete(`${topic}/${partition}`)
  }

  async commit(positions: readonly Position[]): Promise<readonly Position[]> {
    if (this.commitError !== undefined) throw this.commitError
    this.commits.push(...positions)
    return positions
  }

  lag(): readonly [] {
    return []
  }

  backlog(): undefined {
    return undefined
  }

  async exhausted(): Promise<boolean> {
    return true
  }

  async stop(): Promise<void> {
    this.stops += 1
  }

  /** Delivers `count` records from `from` on. */
  deliver(
    partition: Partition,
    epoch: number,
    from: number,
    count: number,
    over: Partial<SourceRecord> = {},
  ): void {
    const records = Array.from({ length: count }, (_, index) => record(partition, from + index, over))
    this.handlers.onRecords(partition, epoch, records, from + count)
  }
}

export function record(partition: Partition, offset: number, over: Partial<SourceRecord> = {}): SourceRecord {
  const headers: RecordHeaders = {}
  return { ...partition, offset, timestampMs: 0, key: null, value: Buffer.from('{}'), headers, ...over }
}
