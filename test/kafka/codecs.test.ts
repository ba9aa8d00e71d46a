import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import kafkajs from 'kafkajs'
import snappy from 'snappyjs'
import { KafkaSource } from '../../src/intake/kafka-source.ts'
import { HEADERS } from '../../src/job/job.ts'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { BATCH_BYTES_MAX, gzipCodec, lz4Codec, snappyCodec, zstdCodec } from '../../src/kafka/codecs.ts'
import { encodeVarint } from '../../src/kafka/record-cutter.ts'
import { createTopics } from '../../src/kafka/topics.ts'
import { Run, silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'

const codecs = { gzip: gzipCodec, snappy: snappyCodec, lz4: lz4Codec, zstd: zstdCodec }
const run = promisify(execFile)

describe('codecs', () => {
  for (const [name, codec] of Object.entries(codecs)) {
    it(`${name} gives back what it was given`, async () => {
      for (const data of [
        Buffer.from('{}'),
        Buffer.alloc(1_000_000, '{"platform":"instagram"}'),
        randomBytes(100_000),
      ]) {
        assert.deepEqual(Buffer.from(await codec.decompress(await codec.compress({ buffer: data }))), data)
      }
    })
  }

  it('snappy reads the framing of Java producers', async () => {
    const parts = [randomBytes(3_000), Buffer.alloc(40_000, 'json')]
    const blocks = parts.map((part) => {
      const block = snappy.compress(part)
      const length = Buffer.alloc(4)
      length.writeUInt32BE(block.length)
      return Buffer.concat([length, block])
    })
    const header = Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0, 0, 0, 0, 1, 0, 0, 0, 1])
    assert.deepEqual(await snappyCodec.decompress(Buffer.concat([header, ...blocks])), Buffer.concat(parts))
  })

  for (const name of ['gzip', 'zstd', 'lz4'] as const) {
    it(`${name} opens a bomb only to a record that is cut`, async () => {
      const length = BATCH_BYTES_MAX + 1
      // Attributes, timestamp, offset, no key, the value, no headers.
      const body = [Buffer.from([0, 0, 0, 1]), encodeVarint(length), Buffer.alloc(length), Buffer.from([0])]
      const record = Buffer.concat([encodeVarint(body.reduce((sum, part) => sum + part.length, 0)), ...body])
      const opened = await codecs[name].decompress(await codecs[name].compress({ buffer: record }))
      assert.ok(opened.length < 1_100, `${opened.length} bytes`)
      assert.ok(opened.includes(String(length)))
    })
  }

  it('reads what kcat produced with every codec', async (t) => {
    const broker = need(t, 'kafka')
    const kcat = need(t, 'kcat')
    if (broker === null || kcat === null) return
    await withTopic(broker, async (topic, consume) => {
      const line = (name: string, n: number) =>
        `{"codec":"${name}","n":${n},"text":"${'sixty-four '.repeat(20)}"}`
      for (const name of Object.keys(codecs)) {
        const child: ChildProcess = spawn(kcat, [
          '-P',
          '-b',
          broker,
          '-t',
          topic,
          '-z',
          name,
          '-H',
          'trace=ü',
        ])
        child.stdin!.end(Array.from({ length: 50 }, (_, n) => `${line(name, n)}\n`).join(''))
        assert.deepEqual(await once(child, 'close'), [0, null])
      }
      const records = await consume(200)
      const expected = Object.keys(codecs).flatMap((name) =>
        Array.from({ length: 50 }, (_, n) => line(name, n)),
      )
      assert.deepEqual(
        records.map(({ value }) => value!.toString()),
        expected,
      )
      for (const { headers } of records) assert.deepEqual(headers.trace, Buffer.from('ü'))
    })
  })

  it('goes on behind a batch that opens to more than memory should hold', async (t) => {
    const broker = need(t, 'kafka')
    if (broker === null) return
    await withTopic(broker, async (topic, consume, producer) => {
      await producer.send({
        topic,
        compression: kafkajs.CompressionTypes.ZSTD,
        messages: [
          { value: 'before' },
          { key: 'bomb', value: Buffer.alloc(BATCH_BYTES_MAX + 1) },
          { value: 'after' },
        ],
      })
      const [before, bomb, after] = await consume(3)
      assert.equal(before!.value!.toString(), 'before')
      assert.equal(bomb!.key!.toString(), 'bomb')
      assert.equal(bomb!.value!.length, 1024)
      assert.deepEqual(bomb!.headers[HEADERS.cut], Buffer.from(String(BATCH_BYTES_MAX + 1)))
      assert.equal(after!.value!.toString(), 'after')
    })
  })

  it('leaves kafkajs without its spinning timers and their warnings', async (t) => {
    const broker = need(t, 'kafka')
    if (broker === null) return
    // A process of its own, because warnings come once per process.
    const script = `
      import { createKafkaClient, withAdmin } from './src/kafka/client.ts'
      import { createLog } from './src/telemetry/log.ts'
      const log = createLog({ level: 'silent', pretty: false, secrets: [] })
      const kafka = createKafkaClient({ brokers: ['${broker}'], clientId: 'test' }, log)
      await withAdmin(kafka, ['${broker}'], (admin) => admin.listTopics())
      console.log('done')`
    const { stdout, stderr } = await run(process.execPath, ['--input-type=module-typescript', '-e', script])
    assert.equal(stdout, 'done\n')
    assert.equal(stderr, '')
  })
})

type Records = Run['deliveries'][number]['record'][]

async function withTopic(
  broker: string,
  body: (
    topic: string,
    consume: (count: number) => Promise<Records>,
    producer: kafkajs.Producer,
  ) => Promise<void>,
): Promise<void> {
  const kafka = createKafkaClient({ brokers: [broker], clientId: 'test' }, silent)
  const admin = kafka.admin()
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await Promise.all([admin.connect(), producer.connect()])
  const topic = `codecs-${randomUUID()}`
  await createTopics(admin, [{ topic, numPartitions: 1 }])
  try {
    await body(
      topic,
      async (count) => {
        const options = { brokers: [broker], groupId: `group-${topic}`, topics: [topic], fetchWaitMs: 50 }
        await using reader = await new Run(new KafkaSource(options, kafka, silent), { bytesMax: 1e9 }).start()
        await until(() => reader.deliveries.length >= count, `${count} records`)
        return reader.deliveries.map(({ record }) => record)
      },
      producer,
    )
  } finally {
    await admin.deleteTopics({ topics: [topic] }).catch(() => undefined)
    await Promise.all([admin.disconnect(), producer.disconnect()])
  }
}
