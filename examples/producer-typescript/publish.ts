/**
 * Publishes one job for each creator on the command line, and waits for the results:
 *
 *   KAFKA_BROKERS=localhost:9094 node publish.ts youtube @nasa @veritasium
 *
 * A project that has millrace as a dependency imports the types from `millrace`.
 */
import { randomUUID } from 'node:crypto'
import { CompressionTypes, Kafka, logLevel, Partitioners } from 'kafkajs'
import type { JobMessage, ResultMessage } from '../../src/index.ts'

const { KAFKA_BROKERS = 'localhost:9092', JOBS_TOPIC = 'millrace.jobs' } = process.env
const { RESULTS_TOPIC = 'millrace.results' } = process.env
const [platform, ...creators] = process.argv.slice(2)
if (platform === undefined || creators.length === 0) {
  console.error('usage: node publish.ts <platform> <creator>…')
  process.exit(2)
}

const jobs = creators.map(
  (creator) =>
    ({
      platform,
      creator_id: creator,
      job_type: 'profile',
      // Our own id lets us know the result; published twice, the job is done once.
      job_id: randomUUID(),
      requested_at: new Date().toISOString(),
    }) satisfies JobMessage,
)

const kafka = new Kafka({
  clientId: 'producer-typescript',
  brokers: KAFKA_BROKERS.split(','),
  logLevel: logLevel.WARN,
})
const producer = kafka.producer({
  // No duplicates when a send is repeated.
  idempotent: true,
  // The partition of a key as Java's producers choose it: whoever writes, a creator's jobs stay in order.
  createPartitioner: Partitioners.DefaultPartitioner,
})
await producer.connect()
await producer.send({
  topic: JOBS_TOPIC,
  compression: CompressionTypes.GZIP,
  messages: jobs.map((job) => ({ key: `${job.platform}:${job.creator_id}`, value: JSON.stringify(job) })),
})
await producer.disconnect()
console.error(`published ${jobs.length} jobs to ${JOBS_TOPIC}`)

// A service would keep one consumer of a fixed group; this program wants the results of its own jobs alone.
const open = new Set<string>(jobs.map(({ job_id }) => job_id))
const consumer = kafka.consumer({ groupId: `producer-typescript-${randomUUID()}`, maxWaitTimeInMs: 250 })
await consumer.connect()
await consumer.subscribe({ topic: RESULTS_TOPIC, fromBeginning: true })
const all = Promise.withResolvers<void>()
await consumer.run({
  async eachMessage({ message }) {
    const result = JSON.parse(String(message.value)) as ResultMessage
    if (!open.delete(result.job_id)) return
    console.log(JSON.stringify(result))
    if (open.size === 0) all.resolve()
  },
})
await all.promise
await consumer.disconnect()
