import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Config } from '../config/schema.ts'
import { Intake } from '../intake/intake.ts'
import { KafkaSource } from '../intake/kafka-source.ts'
import { NdjsonSource } from '../intake/ndjson-source.ts'
import type { Source } from '../intake/source.ts'
import { createKafkaClient } from '../kafka/client.ts'
import type { ParkingOptions } from '../pipeline/parking.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { kafkaClientOptionsOf } from './kafka.ts'
import type { Topics } from './topics.ts'

/** Where jobs come from when there is no Kafka. */
export type Input = { readonly file: string } | { readonly stream: Readable }

/** Jobs from Kafka, or NDJSON with the same ledger. No I/O. */
export function openIntake(
  config: Config,
  topics: Topics,
  input: Input,
  { metrics, log }: { metrics: Metrics; log: Log },
): Intake {
  const { intake } = config
  return new Intake(
    {
      jobsMax: intake.jobs_max,
      bytesMax: intake.bytes_max,
      spanMax: intake.span_max,
      retryTopics: topics.retry.map(({ topic }) => topic),
      weights: weightsOf(topics),
    },
    { source: sourceOf(config, topics, input, log), metrics, log },
  )
}

/** A platform's share of the jobs in memory leaves room for as many others as there are, and for what is being parked. */
export function parkingOptionsOf(
  { intake }: Config,
  topics: Topics,
  live: ReadonlySet<string>,
): ParkingOptions {
  const shares = topics.parked.size + 1
  return {
    parked: topics.parked,
    live,
    shared: topics.jobs.filter(({ platform }) => platform === undefined).map(({ name }) => name),
    dedicated: new Map(
      topics.jobs.flatMap(({ name, platform }) => (platform === undefined ? [] : [[name, platform]])),
    ),
    jobsMax: Math.max(1, Math.floor(intake.jobs_max / shares)),
    bytesMax: Math.max(1, Math.floor(intake.bytes_max / shares)),
    parkedMax: intake.parked_max,
  }
}

/** Where jobs wait that were taken in once. */
function asideOf(topics: Topics): string[] {
  return [...topics.retry.map(({ topic }) => topic), ...topics.parked.values()]
}

/** Jobs that were put aside are older than any: no jobs topic goes ahead of theirs. */
function weightsOf(topics: Topics): Record<string, number> {
  const most = Math.max(...topics.jobs.map(({ weight }) => weight))
  return Object.fromEntries([
    ...asideOf(topics).map((topic) => [topic, most]),
    ...topics.jobs.map(({ name, weight }) => [name, weight]),
  ])
}

function sourceOf(config: Config, topics: Topics, input: Input, log: Log): Source {
  const { kafka, data } = config
  if (kafka === undefined) {
    return new NdjsonSource(
      {
        input: { topic: topics.jobs[0]?.name ?? '', from: 'file' in input ? input.file : input.stream },
        growing: [topics.followUps, ...asideOf(topics)].map((topic) => ({
          topic,
          path: join(data, `${topic}.ndjson`),
        })),
        cursorPath: join(data, 'cursors.json'),
      },
      log,
    )
  }
  return new KafkaSource(
    {
      brokers: kafka.brokers,
      groupId: kafka.group,
      topics: [...topics.jobs.map(({ name }) => name), ...asideOf(topics)],
      sessionTimeoutMs: kafka.session_timeout,
      heartbeatIntervalMs: kafka.heartbeat_interval,
      rebalanceTimeoutMs: kafka.rebalance_timeout,
    },
    createKafkaClient(kafkaClientOptionsOf(kafka), log),
    log,
  )
}
