import { readFileSync } from 'node:fs'
import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import type { KafkaClientOptions, KafkaTls } from '../kafka/client.ts'

export type KafkaSection = NonNullable<Config['kafka']>
type TlsSection = KafkaSection['tls']

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
