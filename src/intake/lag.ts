import type { Metrics } from '../telemetry/metrics.ts'
import type { PartitionIntake } from './partition-intake.ts'
import { partitionKey, type Source } from './source.ts'

/** Sets the lag of the partitions that are ours. Retries that are not due yet are no lag: nobody could be faster. */
export function reportLag(
  source: Source,
  partitions: ReadonlyMap<string, PartitionIntake>,
  metrics: Metrics,
  nowMs: number,
): void {
  for (const { topic, partition, records } of source.lag()) {
    const state = partitions.get(partitionKey({ topic, partition }))
    if (state === undefined) continue
    const isEarly = state.isRetry && state.isEarly(nowMs)
    metrics.kafka_lag_records.set({ topic, partition: String(partition) }, isEarly ? 0 : records)
  }
}
