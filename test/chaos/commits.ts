import { pino } from 'pino'
import { createKafkaClient } from '../../src/kafka/client.ts'

/** Records that the group has not committed yet, of all topics that it takes jobs from: jobs, retries and parked ones. */
export async function uncommitted(broker: string, run: string): Promise<number> {
  const silent = pino({ level: 'silent' })
  const kafka = createKafkaClient({ brokers: [broker], clientId: 'millrace-chaos' }, silent)
  const admin = kafka.admin()
  await admin.connect()
  try {
    const topics = (await admin.listTopics()).filter(
      (topic) =>
        topic === `${run}.jobs` || topic.startsWith(`${run}.retry.`) || topic.startsWith(`${run}.parked.`),
    )
    const committed = await admin.fetchOffsets({ groupId: run, topics })
    let open = 0
    for (const topic of topics) {
      const partitions = committed.find((one) => one.topic === topic)?.partitions ?? []
      for (const { partition, high } of await admin.fetchTopicOffsets(topic)) {
        const offset = Number(partitions.find((one) => one.partition === partition)?.offset ?? -1)
        open += Number(high) - Math.max(0, offset)
      }
    }
    return open
  } finally {
    await admin.disconnect()
  }
}
