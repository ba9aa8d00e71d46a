import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ITopicConfig, Kafka } from 'kafkajs'
import { MillraceError, messageOf } from '../job/errors.ts'
import type { Log } from '../telemetry/log.ts'
import { withAdmin } from './client.ts'

export interface TopicSpec {
  readonly topic: string
  /** Used when it is created; default: the broker's. */
  readonly partitions?: number
  /** Default: the broker's. */
  readonly replicationFactor?: number
  /** Topic configuration when it is created, e.g. `retention.ms`. */
  readonly config?: Readonly<Record<string, string>>
}

/**
 * Dead letters and retries carry a record plus our headers, so a record that just fitted its own topic needs more room
 * there: twice Kafka's default of about 1 MB.
 */
export const ROOMY: Readonly<Record<string, string>> = { 'max.message.bytes': String(2 * 1_048_588) }

/**
 * Makes sure that every topic is there. With `create` the missing ones are created; without, rejects with a MillraceError
 * of kind `usage` that names them. Returns the names that were created.
 */
export async function ensureTopics(
  kafka: Kafka,
  brokers: readonly string[],
  specs: readonly TopicSpec[],
  options: { readonly create: boolean; readonly log: Log; readonly timeoutMs?: number },
): Promise<string[]> {
  const timeoutMs = options.timeoutMs ?? 15_000
  return await withAdmin(kafka, brokers, (admin) => ensure(admin, specs, options), timeoutMs)
}

/** Which of these topics are not there. */
export async function missingTopics(
  kafka: Kafka,
  brokers: readonly string[],
  topics: readonly string[],
): Promise<string[]> {
  return await withAdmin(kafka, brokers, async (admin) => {
    const present = new Set(await admin.listTopics())
    return topics.filter((topic) => !present.has(topic))
  })
}

async function ensure(
  admin: Admin,
  specs: readonly TopicSpec[],
  options: { readonly create: boolean; readonly log: Log },
): Promise<string[]> {
  const present = new Set(await admin.listTopics())
  const missing = specs.filter((spec) => !present.has(spec.topic))
  if (missing.length === 0) return []
  const names = missing.map((spec) => spec.topic)
  if (!options.create) {
    throw new MillraceError(
      'KAFKA_TOPICS_MISSING',
      `Kafka lacks ${names.length === 1 ? 'the topic' : 'the topics'} ${names.join(', ')}: create ${names.length === 1 ? 'it' : 'them'}, or set kafka.create_topics: true`,
      { kind: 'usage' },
    )
  }
  try {
    await createTopics(
      admin,
      missing.map((spec) => ({
        topic: spec.topic,
        numPartitions: spec.partitions ?? -1,
        replicationFactor: spec.replicationFactor ?? -1,
        configEntries: Object.entries(spec.config ?? {}).map(([name, value]) => ({ name, value })),
      })),
    )
  } catch (error) {
    // That another daemon created one of them a moment ago is no error to kafkajs either.
    throw new MillraceError(
      'KAFKA_TOPICS_REFUSED',
      `Kafka did not create ${names.join(', ')}: ${reasons(error)}. Create them by hand, or give the user the right to`,
      { kind: 'usage', cause: error },
    )
  }
  options.log.info({ topics: names }, 'created topics')
  return names
}

/** How long new topics may take until every partition has its leader, and the pause between two looks. */
const LED_WITHIN_MS = 15_000
const LOOK_MS = 50

/**
 * Creates topics, those that are there already aside, and resolves when each of their partitions has a leader. kafkajs can wait
 * itself, but gives up when the broker it asks does not know the topic yet, which with KRaft is so for a moment.
 */
export async function createTopics(admin: Admin, topics: ITopicConfig[]): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, topics })
  const names = topics.map(({ topic }) => topic)
  const endsAtMs = performance.now() + LED_WITHIN_MS
  while (!(await haveLeaders(admin, names, performance.now() >= endsAtMs))) await sleep(LOOK_MS)
}

/** False while the broker does not know one of the topics, or a leader; with `isLast` that is thrown. */
async function haveLeaders(admin: Admin, names: string[], isLast: boolean): Promise<boolean> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: names })
    const isLed = topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0))
    if (!isLed && isLast) throw new Error(`no leader within ${LED_WITHIN_MS} ms`)
    return isLed
  } catch (error) {
    const { type } = error as { type?: unknown }
    if (isLast || (type !== 'UNKNOWN_TOPIC_OR_PARTITION' && type !== 'LEADER_NOT_AVAILABLE')) throw error
    return false
  }
}

/** kafkajs puts the reply for each topic into `errors` of one error that says nothing itself. */
function reasons(error: unknown): string {
  const nested = (error as { errors?: unknown } | null)?.errors
  const parts: readonly { topic?: unknown }[] = Array.isArray(nested) && nested.length > 0 ? nested : [error]
  return parts
    .map((part) => `${typeof part.topic === 'string' ? `${part.topic}: ` : ''}${messageOf(part)}`)
    .join('; ')
}
