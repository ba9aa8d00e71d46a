import type { Kafka } from 'kafkajs'
import { withAdmin } from './client.ts'

/** Offsets of one partition from `from` up to, but without, `to`. */
export interface OffsetRange {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

/** Where the partitions of a topic begin and end now; undefined when there is no such topic. */
export async function rangesOf(
  kafka: Kafka,
  brokers: readonly string[],
  topics: readonly string[],
): Promise<(readonly OffsetRange[] | undefined)[]> {
  return await withAdmin(kafka, brokers, async (admin) => {
    const present = new Set(await admin.listTopics())
    return await Promise.all(
      topics.map(async (topic) => {
        if (!present.has(topic)) return undefined
        const ends = await admin.fetchTopicOffsets(topic)
        return ends
          .map(({ partition, low, high }) => ({ topic, partition, from: Number(low), to: Number(high) }))
          .sort((a, b) => a.partition - b.partition)
      }),
    )
  })
}
