import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createClient } from '@clickhouse/client'
import kafkajs, { type Message } from 'kafkajs'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { BATCH_BYTES_MAX } from '../../src/kafka/codecs.ts'
import { createTopics } from '../../src/kafka/topics.ts'
import { silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { peakRssOf } from '../services/peak-rss.ts'
import { poll } from '../services/poll.ts'
import { HOSTILE_KINDS, hostile } from './hostile.ts'
import { Millrace } from './process.ts'
import { realKafka } from './real-configuration.ts'

const RECORDS = Number(process.env.MILLRACE_TEST_HOSTILE ?? 30_000)
const HUGE = 12
const BOMBS = 4
const { CompressionTypes } = kafkajs
const COMPRESSIONS = [
  CompressionTypes.None,
  CompressionTypes.GZIP,
  CompressionTypes.Snappy,
  CompressionTypes.LZ4,
  CompressionTypes.ZSTD,
]

test('every hostile record is a dead letter, byte for byte, in flat memory and without holding up the loop', {
  timeout: 500_000,
}, async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  if (broker === null || redis === null || clickhouse === null) return
  const run = `hostile${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-hostile-'))
  const kafka = createKafkaClient({ brokers: [broker], clientId: run }, silent)
  const admin = kafka.admin()
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  const reader = kafka.consumer({ groupId: `${run}-reader`, maxBytes: 8_000_000 })
  const database = createClient({ url: clickhouse })
  let daemon: Millrace | undefined
  t.after(async () => {
    await daemon?.kill()
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
    await Promise.all([admin.disconnect(), producer.disconnect(), reader.disconnect()])
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  await Promise.all([admin.connect(), producer.connect()])
  const topic = `${run}.jobs`
  const roomy = [{ name: 'max.message.bytes', value: '12000000' }]
  await createTopics(admin, [{ topic, numPartitions: 6, configEntries: roomy }])

  /** What each record's value hashes to, by its key. */
  const published = new Map<string, string>()
  const add = (key: string, message: Omit<Message, 'key'>): Message => {
    published.set(key, digest(message.value as Buffer | null))
    return { key, ...message }
  }
  const send = (messages: Message[], compression: number) => producer.send({ topic, compression, messages })
  for (let n = 0; n < HUGE; n++) {
    const value = Buffer.from(`{"platform":"${'x'.repeat(10_000_000)}"}`)
    await send([add(`huge-${n}`, { value })], CompressionTypes.None)
  }
  for (let n = 0; n < BOMBS; n++) {
    await send([add(`bomb-${n}`, { value: Buffer.alloc(BATCH_BYTES_MAX + 1) })], CompressionTypes.ZSTD)
  }
  for (let n = 0; n < RECORDS; n += 500) {
    const messages = Array.from({ length: Math.min(500, RECORDS - n) }, (_, i) => {
      const { value, headers } = hostile(n + i)
      return add(String(n + i), headers === undefined ? { value } : { value, headers })
    })
    await send(messages, COMPRESSIONS[(n / 500) % COMPRESSIONS.length]!)
  }

  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({
      data: join(folder, 'data'),
      kafka: { ...realKafka(run, broker), partitions: 3, session_timeout: '30s' },
      redis: { url: redis, key_prefix: run },
      clickhouse: { url: clickhouse, database: run },
      admin: { port: 0 },
      log: { jobs: 'none' },
    }),
  )
  const startedAtMs = performance.now()
  daemon = new Millrace(['run'], { cwd: folder })
  const [, adminUrl = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)

  const sizeOf = async (name: string) =>
    (await admin.fetchTopicOffsets(`${run}.${name}`)).reduce((sum, { high }) => sum + Number(high), 0)
  const seen: { p99Ms: number; dead: number }[] = []
  /** The most memory so far, when half of the records were first seen to be done, and in the end. */
  const peaksMb: number[] = []
  const { pid } = daemon.child
  let rebalances = 0
  await poll(
    async () => {
      const metrics = await (await fetch(`${adminUrl}/metrics`)).text()
      const read = (name: string) => Number(new RegExp(`^${name} (\\S+)`, 'm').exec(metrics)?.[1])
      const dead = await sizeOf('dead')
      seen.push({ p99Ms: read('millrace_event_loop_delay_seconds\\{stat="p99"\\}') * 1_000, dead })
      const peakMb = (peakRssOf(pid) || read('process_resident_memory_bytes')) / 1e6
      if (dead >= RECORDS / 2) peaksMb[peaksMb.length === 0 ? 0 : 1] = peakMb
      rebalances = read('millrace_kafka_rebalances_total')
      const ended = Math.min(await sizeOf('dead'), await sizeOf('results'))
      return ended >= published.size ? true : undefined
    },
    { withinMs: 400_000, everyMs: 250, what: 'a dead letter and a result for every record' },
  )
  const tookS = (performance.now() - startedAtMs) / 1_000
  // Where the broker takes the daemon for dead, or does not answer in time, some records are done again.
  const once = rebalances <= 1

  // Byte for byte; what is too large for the dead letters is cut, and says so.
  await reader.connect()
  await reader.subscribe({ topics: [`${run}.dead`], fromBeginning: true })
  const reasons = new Map<string, number>()
  let cut = 0
  const wrong: string[] = []
  const missing = new Set(published.keys())
  const all = Promise.withResolvers<void>()
  await reader.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      const key = String(message.key)
      const reason = String(message.headers?.['millrace-reason'])
      if (
        message.headers?.['millrace-cut-bytes'] === undefined &&
        published.get(key) !== digest(message.value)
      )
        wrong.push(`${key}: ${reason}`)
      if (!missing.delete(key)) return
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
      if (message.headers?.['millrace-cut-bytes'] !== undefined) cut++
      if (missing.size === 0) all.resolve()
    },
  })
  await all.promise
  assert.deepEqual(wrong, [])
  assert.equal(cut, HUGE + BOMBS)
  assert.deepEqual([...reasons.keys()].sort(), [
    'expired',
    'invalid_params',
    'malformed',
    'unknown_job_type',
    'unknown_platform',
  ])

  // Flat: after the first half, with the huge ones and the bombs in it, no more is taken.
  const slowestMs = (from: number) =>
    Math.max(...seen.filter(({ dead }) => dead > from * RECORDS).map(({ p99Ms }) => p99Ms))
  const [first = 0, second = first] = peaksMb
  assert.ok(second < 1.5 * first, `${first} MB, then ${second} MB`)
  assert.equal((await daemon.stop()).code, 0)
  t.diagnostic(
    `${RECORDS} records of ${HOSTILE_KINDS} kinds, ${HUGE} of 10 MB, ${BOMBS} bombs in ${tookS.toFixed(1)} s${once ? '' : `, ${rebalances} rebalances`}; ` +
      `memory up to ${first.toFixed(0)} MB after half of them, ${second.toFixed(0)} MB after all; loop p99 ${slowestMs(0).toFixed(0)} ms, at the end ${slowestMs(0.9).toFixed(0)} ms; ` +
      [...reasons].map(([reason, count]) => `${count} ${reason}`).join(', '),
  )
})

function digest(value: Buffer | null): string {
  return value === null ? 'null' : createHash('sha1').update(value).digest('hex')
}
