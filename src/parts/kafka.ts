import { readFileSync } from 'node:fs'
import type { Config } from '../config/schema.ts'
import { formatDuration } from '../config/values.ts'
import { MillraceError } from '../job/errors.ts'
import type { KafkaClientOptions, KafkaTls } from '../kafka/client.ts'

export type KafkaSection = NonNullable<Config['kafka']>
type TlsSection = KafkaSection['tls']

/** Names of the topics, also of the files that stand for them without Kafka. */
export interface Topics {
  /** Where jobs are taken from. */
  readonly jobs: readonly { name: string; weight: number }[]
  /** Where jobs go that follow from others: the first jobs topic; without Kafka a file beside the input. */
  readonly followUps: string
  readonly results: string
  readonly dead: string
  /** Shortest delay first. */
  readonly retry: readonly { topic: string; delayMs: number }[]
}

const EMBEDDED = {
  topics: [{ name: 'millrace.jobs', weight: 1 }],
  results_topic: 'millrace.results',
  dead_topic: 'millrace.dead',
  retry_topic_prefix: 'millrace.retry.',
}

export function topicsOf(config: Config): Topics {
  const names = config.kafka ?? EMBEDDED
  return {
    jobs: names.topics,
    followUps: config.kafka?.topics[0]?.name ?? 'millrace.follow-ups',
    results: names.results_topic,
    dead: names.dead_topic,
    retry: config.retry.delays.map((delayMs) => ({
      topic: names.retry_topic_prefix + formatDuration(delayMs),
      delayMs,
    })),
  }
}

export function kafkaClientOptionsOf(kafka: KafkaSection): KafkaClientOptions {
  return {
    brokers: kafka.brokers,
    clientId: kafka.client_id,
    ...(kafka.tls === false ? {} : { tls: tlsOf(kafka.tls, 'kafka.tls') }),
    ...(kafka.sasl === undefined ? {} : { sasl: kafka.sasl }),
  }
}

/** Reads the PEM files of a `tls` section. Throws MillraceError of kind `usage` for a file that cannot be read. */
export function tlsOf(section: TlsSection, path: string): boolean | KafkaTls {
  if (typeof section === 'boolean') return section
  const pem = (key: 'ca' | 'cert' | 'key') => {
    const file = section[key]
    if (file === undefined) return {}
    try {
      return { [key]: readFileSync(file, 'utf8') }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'an error'
      throw new MillraceError(
        'TLS_FILE',
        `${path}.${key}: ${file} cannot be read (${code}); expected a PEM file`,
        {
          kind: 'usage',
          cause: error,
        },
      )
    }
  }
  return {
    ...pem('ca'),
    ...pem('cert'),
    ...pem('key'),
    ...(section.server_name === undefined ? {} : { servername: section.server_name }),
  }
}
