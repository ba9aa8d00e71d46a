import type { Config } from '../config/schema.ts'
import type { DeadLetters } from '../dead-letters/dead-letters.ts'
import { FileLetters } from '../dead-letters/file-letters.ts'
import { KafkaLetters } from '../dead-letters/kafka-letters.ts'
import { createKafkaClient } from '../kafka/client.ts'
import type { Log } from '../telemetry/log.ts'
import { kafkaClientOptionsOf } from './kafka.ts'
import type { Topics } from './topics.ts'

/** The dead letters in Kafka, or in the files of `data`; those that stand there now. Rejects as KafkaLetters.open does. */
export async function openDeadLetters(config: Config, topics: Topics, log: Log): Promise<DeadLetters> {
  const { kafka, data } = config
  const { dead, replayed } = topics
  if (kafka === undefined) return await FileLetters.open({ folder: data, dead, replayed })
  const { brokers, group } = kafka
  return await KafkaLetters.open(
    { brokers, group, dead, replayed },
    // Somebody waits at a terminal: a broker that refuses connections is away.
    createKafkaClient({ ...kafkaClientOptionsOf(kafka), retries: 2 }, log),
  )
}
