import type { Admin, Kafka } from 'kafkajs'
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
    await admin.createTopics({
      waitForLeaders: true,
      topics: missing.map((spec) => ({
        topic: spec.topic,
        numPartitions: spec.partitions ?? -1,
        replicationFactor: spec.replicationFactor ?? -1,
        configEntries: Object.entries(spec.config ?? {}).map(([name, value]) => ({ name, value })),
      })),
    })
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

/** kafkajs puts the reply for each topic into `errors` of one error that says nothing itself. */
function reasons(error: unknown): string {
  const nested = (error as { errors?: unknown } | null)?.errors
  const parts: readonly { topic?: unknown }[] = Array.isArray(nested) && nested.length > 0 ? nested : [error]
  return parts
    .map((part) => `${typeof part.topic === 'string' ? `${part.topic}: ` : ''}${messageOf(part)}`)
    .join('; ')
}
