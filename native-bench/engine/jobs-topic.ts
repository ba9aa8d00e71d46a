import type { Producer } from 'kafkajs'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { keyPartitioner } from '../../src/kafka/partitioner.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { job } from './work.ts'

const BATCH = 2_000

/** Publishes jobs, in the process that measures nothing of itself. */
export class JobsTopic {
  readonly #topic: string
  readonly #producer: Producer
  #published = 0

  constructor(broker: string, topic: string) {
    this.#topic = topic
    const log = createLog({ level: 'warn', pretty: false, secrets: [] })
    const kafka = createKafkaClient({ brokers: [broker], clientId: 'bench' }, log)
    this.#producer = kafka.producer({
      allowAutoTopicCreation: false,
      createPartitioner: keyPartitioner,
    })
  }

  start(): Promise<void> {
    return this.#producer.connect()
  }

  async publish(count: number): Promise<void> {
    const end = this.#published + count
    while (this.#published < end) {
      const batch = Math.min(BATCH, end - this.#published)
      const messages = Array.from({ length: batch }, (_, index) => job(this.#published + index))
      await this.#producer.send({ topic: this.#topic, messages })
      this.#published += batch
    }
  }

  stop(): Promise<void> {
    return this.#producer.disconnect()
  }
}
