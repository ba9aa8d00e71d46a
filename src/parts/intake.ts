import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Config } from '../config/schema.ts'
import { Intake } from '../intake/intake.ts'
import type { IntakeOptions } from '../intake/intake-options.ts'
import { KafkaSource } from '../intake/kafka-source.ts'
import { NdjsonSource } from '../intake/ndjson-source.ts'
import type { Bounds } from '../intake/room.ts'
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
  const source = sourceOf(config, topics, input, log)
  return new Intake(intakeOptionsOf(config, topics), { source, metrics, log })
}

/**
 * How much is taken in. When every platform has its share of it, jobs that were on their way are admitted all the same, so those that
 * then stay blocked may have all of it but half a share: with that much free it has to be open again. What waits in a topic
 * of one platform alone is seen to be its only after it was handed out, and comes all at once when it is released: no more of it
 * is handed out than the platform's share.
 */
export function intakeOptionsOf(config: Config, topics: Topics): IntakeOptions {
  const { intake } = config
  const share = shareOf(config, topics)
  const own = [...topics.parked.values(), ...dedicatedOf(topics).keys()]
  return {
    jobsMax: intake.jobs_max,
    bytesMax: intake.bytes_max,
    resumeShare: 1 - 1 / (2 * sharesOf(topics)),
    topicBounds: new Map(own.map((topic) => [topic, share])),
    spanMax: intake.span_max,
    retryTopics: topics.retry.map(({ topic }) => topic),
    weights: weightsOf(topics),
  }
}

export function parkingOptionsOf(config: Config, topics: Topics, live: ReadonlySet<string>): ParkingOptions {
  return {
    parked: topics.parked,
    live,
    shared: topics.jobs.filter(({ platform }) => platform === undefined).map(({ name }) => name),
    dedicated: dedicatedOf(topics),
    ...shareOf(config, topics),
    parkedMax: config.intake.parked_max,
  }
}

/** A platform's share of the jobs in memory leaves room for as many others as there are, and for what is being parked. */
function shareOf({ intake }: Config, topics: Topics): Bounds {
  const shares = sharesOf(topics)
  return {
    jobsMax: Math.max(1, Math.floor(intake.jobs_max / shares)),
    bytesMax: Math.max(1, Math.floor(intake.bytes_max / shares)),
  }
}

function sharesOf(topics: Topics): number {
  return topics.parked.size + 1
}

/** The topics whose jobs are all of one platform, with it. */
function dedicatedOf(topics: Topics): ReadonlyMap<string, string> {
  return new Map(
    topics.jobs.flatMap(({ name, platform }) => (platform === undefined ? [] : [[name, platform]])),
  )
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
