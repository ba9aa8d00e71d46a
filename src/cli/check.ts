import type { Config } from '../config/schema.ts'
import { MillraceError, messageOf } from '../job/errors.ts'
import { checkKafka, createKafkaClient } from '../kafka/client.ts'
import { missingTopics } from '../kafka/topics.ts'
import { kafkaClientOptionsOf } from '../parts/kafka.ts'
import { openLimiter } from '../parts/limits.ts'
import { platformsOf } from '../parts/platforms.ts'
import { openStore } from '../parts/store.ts'
import { openEngine } from '../parts/timeseries.ts'
import { topicSpecsOf, topicsOf } from '../parts/topics.ts'
import { createLog } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import type { Secrets } from '../telemetry/secrets.ts'
import { openExisting } from '../timeseries/engine.ts'
import { schemaState } from '../timeseries/migrate.ts'
import { EXIT } from './exit.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'

interface Finding {
  readonly part: string
  readonly ok: boolean
  readonly says: string
  readonly kind: 'done' | 'failed' | 'usage' | 'service_away'
}

/** `millrace check`: asks every part of the configuration whether it answers, all of them, and says what each said. */
export async function check(config: Config, options: { json: boolean }, terminal: Terminal): Promise<number> {
  const { secrets } = terminal
  const log = createLog({ level: 'silent', pretty: false, secrets })
  const { kafka } = config
  const findings = await Promise.all([
    find('platforms', secrets, async () => {
      const platforms = await platformsOf(config, process.cwd())
      return platforms
        .map(({ platform, credentials }) => `${platform.name}${manyOf(credentials.length)}`)
        .join(', ')
    }),
    find('kafka', secrets, async () => {
      if (kafka === undefined) return 'not configured: jobs from NDJSON'
      const client = createKafkaClient(kafkaClientOptionsOf(kafka), log)
      await checkKafka(client, kafka.brokers)
      const platforms = (await platformsOf(config, process.cwd())).map(({ platform }) => platform.name)
      const wanted = topicSpecsOf(topicsOf(config, platforms), kafka.partitions).map(({ topic }) => topic)
      const missing = await missingTopics(client, kafka.brokers, wanted)
      if (missing.length > 0 && !kafka.create_topics) {
        throw new MillraceError('KAFKA_TOPICS_MISSING', `answers, but lacks ${missing.join(', ')}`, {
          kind: 'usage',
        })
      }
      return `answers, ${wanted.length - missing.length} of ${wanted.length} topics are there`
    }),
    find('limits', secrets, async () => {
      const limiter = openLimiter(config, createMetrics(), log)
      try {
        await limiter.start()
        return config.redis === undefined ? 'in memory' : 'Redis answers'
      } finally {
        await limiter.stop()
      }
    }),
    find('clickhouse', secrets, async () => {
      const engine = openEngine(config)
      try {
        // Looking creates nothing: the first start does.
        if (!(await openExisting(engine))) return `${engine.name} answers, no database ${engine.database} yet`
        const { version, pending } = await schemaState(engine)
        const state = pending.length === 0 ? 'up to date' : `${pending.length} migrations to apply`
        const at = engine.cluster === undefined ? '' : ` at cluster ${engine.cluster}`
        return `${engine.name} answers${at}, schema ${version}, ${state}`
      } finally {
        await engine.close()
      }
    }),
    find('store', secrets, async () => {
      const store = await openStore(config)
      try {
        await store.check()
        return config.store?.kind === 's3'
          ? `bucket ${config.store.bucket} can be written to`
          : 'the folder can be written to'
      } finally {
        await store.stop()
      }
    }),
  ])
  if (options.json) {
    for (const { part, ok, says } of findings)
      terminal.stdout.write(`${JSON.stringify({ part, ok, says })}\n`)
  } else {
    const rows = findings.map(({ part, ok, says }) => [part, ok ? 'ok' : 'NO', says])
    terminal.stdout.write(`${table([{ title: 'part' }, { title: '' }, { title: 'says' }], rows)}\n`)
  }
  // What is wrong with the configuration goes first: a service that is away may be only its consequence.
  for (const kind of ['usage', 'failed', 'service_away'] as const) {
    if (findings.some((finding) => finding.kind === kind)) return EXIT[kind]
  }
  return EXIT.done
}

async function find(part: string, { redact }: Secrets, ask: () => Promise<string>): Promise<Finding> {
  try {
    return { part, ok: true, says: await ask(), kind: 'done' }
  } catch (error) {
    return {
      part,
      ok: false,
      says: redact(messageOf(error)),
      kind: error instanceof MillraceError ? error.kind : 'failed',
    }
  }
}

function manyOf(credentials: number): string {
  if (credentials === 0) return ' (no credentials: its jobs will wait)'
  return credentials === 1 ? '' : ` (${credentials} credentials)`
}
