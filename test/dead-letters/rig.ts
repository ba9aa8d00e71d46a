import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { KafkaSource } from '../../src/intake/kafka-source.ts'
import type { Reason } from '../../src/job/reason.ts'
import type { OutRecord, Publisher, SourceRecord } from '../../src/job/record.ts'
import { createKafkaClient, withAdmin } from '../../src/kafka/client.ts'
import { ensureTopics, ROOMY } from '../../src/kafka/topics.ts'
import { deadLetter } from '../../src/pipeline/messages.ts'
import { FilePublisher } from '../../src/publish/file-publisher.ts'
import { KafkaPublisher } from '../../src/publish/kafka-publisher.ts'
import { decodeStoredLine } from '../../src/publish/stored-line.ts'
import { Run, silent } from '../contract/source.ts'
import { type Ended, Millrace } from '../daemon/process.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'

export const never = new AbortController().signal

/** A place with dead letters, and the command line on it. */
export interface Rig {
  readonly kind: 'kafka' | 'files'
  /** The topic that jobs come from, and where they are to be sent back to. */
  readonly jobs: string
  readonly back: string
  readonly dead: string
  /** Configuration file. */
  readonly config: string
  publish(topic: string, records: readonly OutRecord[]): Promise<void>
  /** How many records stand in a topic. */
  count(topic: string): Promise<number>
  /** All records of a topic. */
  read(topic: string): Promise<SourceRecord[]>
  start(args: readonly string[]): Millrace
  run(...args: readonly string[]): Promise<Ended>
}

/** Undefined when there is no Kafka. All of it is removed after the test. */
export async function openRig(t: TestContext, kind: Rig['kind']): Promise<Rig | undefined> {
  const broker = kind === 'kafka' ? need(t, 'kafka') : ''
  if (broker === null) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'millrace-dlq-'))
  const config = join(folder, 'millrace.yaml')
  const commands: Millrace[] = []
  const start = (args: readonly string[]) => {
    const command = new Millrace(['dlq', ...args, '--config', config], { cwd: folder, env: { TZ: 'UTC' } })
    commands.push(command)
    return command
  }
  const place = kind === 'kafka' ? await kafkaPlace(broker) : filePlace(folder)
  t.after(async () => {
    await Promise.all(commands.map((command) => command.kill()))
    await place.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  writeFileSync(config, place.yaml)
  await place.publisher.start()
  return {
    kind,
    config,
    ...place.topics,
    publish: (topic, records) => place.publisher.publish(topic, records, never),
    count: place.count,
    read: place.read,
    start,
    run: (...args) => start(args).ended,
  }
}

interface Place {
  readonly topics: Pick<Rig, 'jobs' | 'back' | 'dead'>
  readonly yaml: string
  readonly publisher: Publisher
  readonly count: Rig['count']
  readonly read: Rig['read']
  close(): Promise<void>
}

function filePlace(folder: string): Place {
  const data = join(folder, 'data')
  const publisher = new FilePublisher({ folder: data, plainTopics: [] }, silent)
  const read = (topic: string): SourceRecord[] => {
    let text: string
    try {
      text = readFileSync(join(data, `${topic}.ndjson`), 'utf8')
    } catch {
      return []
    }
    const lines = text.split('\n').filter((line) => line !== '')
    return lines.map((line, offset) => ({
      topic,
      partition: 0,
      offset,
      ...decodeStoredLine(Buffer.from(line))!,
    }))
  }
  return {
    topics: { jobs: 'millrace.jobs', back: 'millrace.follow-ups', dead: 'millrace.dead' },
    yaml: `data: ${data}\n`,
    publisher,
    count: async (topic) => read(topic).length,
    read: async (topic) => read(topic),
    close: () => publisher.stop(),
  }
}

async function kafkaPlace(broker: string): Promise<Place> {
  const brokers = [broker]
  const kafka = createKafkaClient({ brokers, clientId: 'test' }, silent)
  const name = `dlq-${randomUUID()}`
  const names = { jobs: `${name}.jobs`, dead: `${name}.dead`, results: `${name}.results` }
  const replayed = `${name}.replayed`
  const specs = [
    { topic: names.jobs, partitions: 2 },
    { topic: names.results, partitions: 1 },
    { topic: names.dead, partitions: 3, config: ROOMY },
    { topic: replayed, partitions: 1, config: { 'cleanup.policy': 'compact' } },
    { topic: `${name}.retry.30s`, partitions: 1 },
  ]
  await ensureTopics(kafka, brokers, specs, { create: true, log: silent })
  // A batch for several partitions is sent again as a whole when one of them has no leader yet: then some stand there twice.
  const answers = (topic: string) =>
    withAdmin(kafka, brokers, (admin) => admin.fetchTopicOffsets(topic)).then(
      () => true,
      () => false,
    )
  for (const { topic } of specs) await until(() => answers(topic), `leaders of ${topic}`)
  const publisher = new KafkaPublisher({ brokers }, kafka, silent)
  const count = async (topic: string) => {
    const ends = await withAdmin(kafka, brokers, (admin) => admin.fetchTopicOffsets(topic))
    return ends.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0)
  }
  const section = {
    brokers,
    group: name,
    topics: [names.jobs],
    dead_topic: names.dead,
    results_topic: names.results,
    replayed_topic: replayed,
    retry_topic_prefix: `${name}.retry.`,
  }
  return {
    topics: { jobs: names.jobs, back: names.jobs, dead: names.dead },
    yaml: `kafka: ${JSON.stringify(section)}\nretry: { delays: [30s] }\nredis: { url: 'redis://127.0.0.1:1' }\n`,
    publisher,
    count,
    read: async (topic) => {
      const expected = await count(topic)
      if (expected === 0) return []
      const groupId = `${name}-${randomUUID()}`
      const source = new KafkaSource({ brokers, groupId, topics: [topic], fetchWaitMs: 50 }, kafka, silent)
      await using run = await new Run(source).start()
      await until(() => run.deliveries.length >= expected, `${expected} records`)
      return run.deliveries.map(({ record }) => record)
    },
    close: async () => {
      await publisher.stop()
      await withAdmin(kafka, brokers, (admin) =>
        admin.deleteTopics({ topics: specs.map(({ topic }) => topic) }),
      ).catch(() => undefined)
    },
  }
}

export interface Dead {
  readonly reason: Reason
  readonly platform?: string
  /** Offset of the original; default: the place in the list. */
  readonly offset?: number
  readonly message?: string
  readonly key?: Buffer | null
  readonly value?: Buffer | null
  readonly headers?: SourceRecord['headers']
  /** Of the original; default: the rig's. */
  readonly topic?: string
  readonly fields?: Readonly<Record<string, unknown>>
}

export function jobValue(platform: string, creator: string, fields: object = {}): Buffer {
  return Buffer.from(
    JSON.stringify({ platform, creator_id: creator, job_type: 'profile', job_id: creator, ...fields }),
  )
}

/** Dead letters as a daemon writes them. */
export function deadLetters(jobs: string, dead: readonly Dead[]): OutRecord[] {
  return dead.map((one, index) => {
    const { reason, platform = 'instagram', offset = index, message = `it was ${reason}` } = one
    const creator = `c${offset}`
    const record: SourceRecord = {
      topic: one.topic ?? jobs,
      partition: 0,
      offset,
      timestampMs: Date.UTC(2026, 0, 31, 8),
      key: one.key === undefined ? Buffer.from(`${platform}:${creator}`) : one.key,
      value: one.value === undefined ? jobValue(platform, creator, one.fields) : one.value,
      headers: one.headers ?? {},
    }
    const trouble = { reason, message, attempts: 3, throttled: 1 }
    return deadLetter(record, trouble, { group: 'test', version: '1.2.3' })
  })
}
