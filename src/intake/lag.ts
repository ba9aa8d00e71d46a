import type { Metrics } from '../telemetry/metrics.ts'
import type { PartitionIntake } from './partition-intake.ts'
import { partitionKey, type Source } from './source.ts'

/** Sets lag and age of the partitions that are ours. Retries that are not due yet are neither: nobody could be faster. */
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
  for (const state of partitions.values()) {
    metrics.kafka_oldest_seconds.set(labelsOf(state), oldestMs(state, nowMs) / 1000)
  }
}

/** The partition is no longer ours: its figures are for others to tell. */
export function forgetLag(state: PartitionIntake, metrics: Metrics): void {
  metrics.kafka_lag_records.remove(labelsOf(state))
  metrics.kafka_oldest_seconds.remove(labelsOf(state))
}

function labelsOf({ partition: { topic, partition } }: PartitionIntake): {
  topic: string
  partition: string
} {
  return { topic, partition: String(partition) }
}

/** Records are handed out in the order of their offsets, so the first that is open is the oldest. */
function oldestMs(state: PartitionIntake, nowMs: number): number {
  const [open] = state.open.values()
  const waiting = state.isRetry && state.isEarly(nowMs) ? undefined : state.head?.record
  const oldest = open?.record ?? waiting
  return oldest === undefined ? 0 : Math.max(0, nowMs - oldest.timestampMs)
}
