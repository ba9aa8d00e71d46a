import type { Config } from '../config/schema.ts'
import type { Publisher } from '../job/record.ts'
import { createKafkaClient } from '../kafka/client.ts'
import { ensureTopics } from '../kafka/topics.ts'
import { FilePublisher } from '../publish/file-publisher.ts'
import { KafkaPublisher } from '../publish/kafka-publisher.ts'
import type { Log } from '../telemetry/log.ts'
import { kafkaClientOptionsOf } from './kafka.ts'
import { type Topics, topicSpecsOf } from './topics.ts'

/**
 * Where results, retries and dead letters go: Kafka, after making sure that the topics are there, or files in `data`.
 * Rejects with ServiceAwayError when no broker answers, and with a MillraceError that names missing topics.
 */
export async function openPublisher(config: Config, topics: Topics, log: Log): Promise<Publisher> {
  const { kafka } = config
  if (kafka === undefined)
    return new FilePublisher({ folder: config.data, plainTopics: [topics.results] }, log)
  const client = createKafkaClient(kafkaClientOptionsOf(kafka), log)
  await ensureTopics(client, kafka.brokers, topicSpecsOf(topics, kafka.partitions), {
    create: kafka.create_topics,
    log,
  })
  return new KafkaPublisher({ brokers: kafka.brokers }, client, log)
}
