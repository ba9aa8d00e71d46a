import type { Config } from '../config/schema.ts'
import { formatDuration } from '../config/values.ts'
import { MillraceError } from '../job/errors.ts'
import { ROOMY, type TopicSpec } from '../kafka/topics.ts'

/** Names of the topics, also of the files that stand for them without Kafka. */
export interface Topics {
  /** Where jobs are taken from; `platform` when all jobs of a topic are that one's. */
  readonly jobs: readonly { name: string; weight: number; platform?: string | undefined }[]
  /** Where jobs go that follow from others (see jobTopicOf); without Kafka a file beside the input. */
  readonly followUps: string
  readonly results: string
  readonly dead: string
  /** Which dead letters were sent back. */
  readonly replayed: string
  /** Shortest delay first. */
  readonly retry: readonly { topic: string; delayMs: number }[]
  /** Where a platform's jobs wait that would be in the way of others, by platform. */
  readonly parked: ReadonlyMap<string, string>
}

const EMBEDDED = {
  topics: [{ name: 'millrace.jobs', weight: 1 }],
  results_topic: 'millrace.results',
  dead_topic: 'millrace.dead',
  replayed_topic: 'millrace.replayed',
  retry_topic_prefix: 'millrace.retry.',
  parked_topic_prefix: 'millrace.parked.',
}

/**
 * `platforms`: the names of those that jobs are taken for; none for who only publishes or reads. Throws MillraceError of kind
 * `usage` for a topic of a platform that is not among them.
 */
export function topicsOf(config: Config, platforms: readonly string[]): Topics {
  const names = config.kafka ?? EMBEDDED
  for (const { name, platform } of config.kafka?.topics ?? []) {
    if (platform === undefined || platforms.length === 0 || platforms.includes(platform)) continue
    throw new MillraceError(
      'TOPIC_PLATFORM',
      `kafka.topics: ${name} is said to be of ${JSON.stringify(platform)}; expected one of ${platforms.join(', ')}`,
      { kind: 'usage' },
    )
  }
  return {
    jobs: names.topics,
    followUps: followUpsOf(config),
    results: names.results_topic,
    dead: names.dead_topic,
    replayed: names.replayed_topic,
    retry: config.retry.delays.map((delayMs) => ({
      topic: names.retry_topic_prefix + formatDuration(delayMs),
      delayMs,
    })),
    parked: new Map(platforms.map((platform) => [platform, names.parked_topic_prefix + platform])),
  }
}

function followUpsOf({ kafka }: Config): string {
  if (kafka === undefined) return 'millrace.follow-ups'
  return (kafka.topics.find((topic) => topic.platform === undefined) ?? kafka.topics[0]!).name
}

/**
 * Where we publish jobs of a platform, such as those that follow from others: the first topic that is its own, else the first that is of any. Another
 * platform's own would be held, and they in it, when that one cannot take more; only where there is nothing else do they go there.
 */
export function jobTopicOf(topics: Topics, platform: string): string {
  return topics.jobs.find((topic) => topic.platform === platform)?.name ?? topics.followUps
}

/** What has to be there before a daemon starts. */
export function topicSpecsOf(topics: Topics, partitions: number): TopicSpec[] {
  return [
    ...topics.jobs.map(({ name }) => ({ topic: name, partitions })),
    ...[
      topics.results,
      topics.dead,
      ...topics.retry.map(({ topic }) => topic),
      ...topics.parked.values(),
    ].map((topic) => ({ topic, partitions, config: ROOMY })),
    // Compacted: a mark must outlive its dead letter, whatever the retention of either.
    { topic: topics.replayed, partitions: 1, config: { 'cleanup.policy': 'compact' } },
  ]
}
