import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createClient } from '@clickhouse/client'
import { Redis } from 'ioredis'
import kafkajs from 'kafkajs'
import { need } from '../need.ts'
import { startClickhouse } from './clickhouse.ts'
import { command } from './command.ts'
import { startKafka } from './kafka.ts'
import { runKcat } from './kcat.ts'
import { own } from './own.ts'
import { startPrometheus } from './prometheus.ts'
import { startRedis } from './redis.ts'
import type { Running } from './running.ts'
import { S3_KEYS, startS3 } from './s3.ts'

async function redisSays(address: string, ask: (redis: Redis) => Promise<unknown>): Promise<unknown> {
  const redis = new Redis(address, { lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await ask(redis)
  } finally {
    redis.disconnect()
  }
}

/** Patient enough for a broker that is back after a kill; `retries` is for a question whose answer is an error. */
function kafkaAt(broker: Running, retries = 30) {
  return new kafkajs.Kafka({
    brokers: [broker.address],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries },
  })
}

function s3At(address: string, secretAccessKey: string): S3Client {
  const { host, username } = new URL(address)
  return new S3Client({
    endpoint: `http://${host}`,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: username, secretAccessKey },
  })
}

test('a durable Redis keeps what it acknowledged over a SIGKILL, at the same address', async (t) => {
  const redis = await own(t, () => startRedis({ durable: true }))
  if (redis === null) return
  const { address } = redis
  assert.equal(await redisSays(address, (client) => client.set('key', 'kept')), 'OK')
  await redis.kill()
  await assert.rejects(redisSays(address, (client) => client.ping()))
  await redis.restart()
  assert.equal(redis.address, address)
  assert.equal(await redisSays(address, (client) => client.get('key')), 'kept')
})

test('Redis takes the scripts of the limiter: TIME inside of Lua, and EVALSHA', async (t) => {
  const redis = await own(t, startRedis)
  if (redis === null) return
  const time = await redisSays(redis.address, (client) => client.eval("return redis.call('TIME')", 0))
  assert.equal((time as string[]).length, 2)
})

test('Kafka keeps acknowledged records over a SIGKILL, and creates no topic by itself', async (t) => {
  const broker = await own(t, startKafka)
  if (broker === null) return
  const kafka = kafkaAt(broker)
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 6, replicationFactor: 1 }] })
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  await producer.send({ topic: 'kept', acks: -1, messages: [{ key: 'a', value: 'one' }] })
  await producer.disconnect()
  await admin.disconnect()

  await broker.kill()
  await broker.restart()

  const again = kafka.admin()
  await again.connect()
  broker.beforeStop(() => again.disconnect())
  const offsets = await again.fetchTopicOffsets('kept')
  assert.equal(
    offsets.reduce((sum, { high }) => sum + Number(high), 0),
    1,
  )
  const asking = kafkaAt(broker, 1).admin()
  await asking.connect()
  broker.beforeStop(() => asking.disconnect())
  await assert.rejects(asking.fetchTopicOffsets('absent'))
  assert.ok(!(await again.listTopics()).includes('absent'))
})

test('a consumer joins a group of a broker that was just started without a crash', async (t) => {
  const broker = await own(t, startKafka)
  if (broker === null) return
  const kafka = kafkaAt(broker)
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: 'joined' }] })
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: 'first' })
  broker.beforeStop(() => consumer.disconnect())
  let crashes = 0
  consumer.on('consumer.crash', () => crashes++)
  const joined = new Promise((resolve) => consumer.on('consumer.group_join', resolve))
  await consumer.connect()
  await consumer.subscribe({ topic: 'joined' })
  await consumer.run({ eachMessage: async () => {} })
  await joined
  assert.equal(crashes, 0)
})

test('kcat reads and writes the broker of the run', async (t) => {
  const broker = need(t, 'kafka')
  const kcat = need(t, 'kcat')
  if (broker === null || kcat === null) return
  const listed = await runKcat(kcat, ['-b', broker, '-L', '-J', '-m', '60'])
  assert.equal(listed.code, 0, listed.stderr)
  const { brokers } = JSON.parse(listed.stdout) as { brokers: unknown[] }
  assert.ok(brokers.length >= 1)
})

test('ClickHouse keeps acknowledged rows over a SIGKILL', async (t) => {
  const server = await own(t, startClickhouse)
  if (server === null) return
  const client = createClient({ url: server.address })
  server.beforeStop(() => client.close())
  await client.command({ query: 'CREATE TABLE kept (id UInt32) ENGINE = MergeTree ORDER BY id' })
  await client.insert({ table: 'kept', values: [{ id: 1 }, { id: 2 }], format: 'JSONEachRow' })
  await server.kill()
  await server.restart()
  const rows = await client.query({
    query: 'SELECT toUInt32(sum(id)) AS sum FROM kept',
    format: 'JSONEachRow',
  })
  assert.deepEqual(await rows.json(), [{ sum: 3 }])
})

test('the S3 store checks signatures, and keeps objects over a SIGKILL', async (t) => {
  const store = await own(t, startS3)
  if (store === null) return
  const client = s3At(store.address, S3_KEYS.secretKey)
  const stranger = s3At(store.address, 'another-secret')
  t.after(() => {
    client.destroy()
    stranger.destroy()
  })
  const at = { Bucket: 'pictures', Key: 'a/b' }
  await client.send(new CreateBucketCommand({ Bucket: at.Bucket }))
  await client.send(new PutObjectCommand({ ...at, Body: 'bytes', IfNoneMatch: '*' }))
  await assert.rejects(client.send(new PutObjectCommand({ ...at, Body: 'other', IfNoneMatch: '*' })), {
    name: 'PreconditionFailed',
  })
  await assert.rejects(stranger.send(new GetObjectCommand(at)), { name: 'SignatureDoesNotMatch' })
  await store.kill()
  await store.restart()
  const object = await client.send(new GetObjectCommand(at))
  assert.equal(await object.Body?.transformToString(), 'bytes')
})

test('Prometheus loads a configuration and its rules, and promtool finds a wrong one', async (t) => {
  const promtool = need(t, 'promtool')
  const rules = 'groups: [{ name: g, rules: [{ record: "a:b", expr: "vector(1)" }] }]\n'
  const configuration = 'rule_files: [rules.yml]\n'
  const server = await own(t, () => startPrometheus({ configuration, files: { 'rules.yml': rules } }))
  if (server === null || promtool === null) return
  const reply = await fetch(`${server.address}/api/v1/rules`)
  const { data } = (await reply.json()) as { data: { groups: { name: string }[] } }
  assert.deepEqual(
    data.groups.map(({ name }) => name),
    ['g'],
  )
  const wrong = { withinMs: 60_000, input: rules.replace('vector(1)', 'vector(') }
  await assert.rejects(command(promtool, ['check', 'rules', '/dev/stdin'], wrong), /exit code 1/)
})
