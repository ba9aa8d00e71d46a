import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import type { ISocketFactory } from 'kafkajs'
import type { SourceRecord } from '../../src/job/record.ts'
import { createKafkaClient, withAdmin } from '../../src/kafka/client.ts'
import { rangesOf } from '../../src/kafka/offset-range.ts'
import { RangeReader } from '../../src/kafka/range-reader.ts'
import { ensureTopics } from '../../src/kafka/topics.ts'
import { silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'

const never = new AbortController().signal

async function setup(t: TestContext, options: { partitions?: number; socketFactory?: ISocketFactory } = {}) {
  const broker = need(t, 'kafka')
  if (broker === null) return undefined
  const brokers = [broker]
  const kafka = createKafkaClient({ brokers, clientId: 'test' }, silent)
  const topic = `range-${randomUUID()}`
  const partitions = options.partitions ?? 1
  await ensureTopics(kafka, brokers, [{ topic, partitions }], { create: true, log: silent })
  const producer = kafka.producer({ idempotent: true, transactionalId: topic, maxInFlightRequests: 1 })
  await producer.connect()
  const clientOptions =
    options.socketFactory === undefined
      ? {}
      : { retries: 2, requestTimeoutMs: 2_000, socketFactory: options.socketFactory }
  const client = createKafkaClient({ brokers, clientId: 'test', ...clientOptions }, silent)
  const reader = new RangeReader(
    {
      brokers,
      groupPrefix: topic,
      topics: [topic],
      silenceMsMax: options.socketFactory === undefined ? 60_000 : 3_000,
    },
    client,
  )
  t.after(async () => {
    await reader.stop()
    await producer.disconnect()
    // Else it goes with the broker.
    await withAdmin(kafka, brokers, (admin) => admin.deleteTopics({ topics: [topic] })).catch(() => undefined)
  })
  const transaction = async (
    values: readonly string[],
    end: 'commit' | 'abort' = 'commit',
    partition = 0,
  ) => {
    const open = await producer.transaction()
    await open.send({ topic, messages: values.map((value) => ({ value, partition })) })
    await open[end]()
  }
  const read = async (ranges?: Parameters<RangeReader['read']>[0]) => {
    const records: SourceRecord[] = []
    const all = ranges ?? (await rangesOf(kafka, brokers, [topic]))[0]!
    await reader.read(all, (record) => void records.push(record), never)
    return records.map(({ value }) => String(value))
  }
  return { brokers, kafka, topic, reader, transaction, read, ranges: () => rangesOf(kafka, brokers, [topic]) }
}

describe('Kafka range reader', () => {
  it('reads what stood there when the ends were asked for, and again from anywhere', async (t) => {
    const place = await setup(t, { partitions: 3 })
    if (place === undefined) return
    const { topic } = place
    await place.transaction(['a', 'b', 'c'])
    await place.transaction(['x', 'y'], 'commit', 2)
    const [ranges] = await place.ranges()
    await place.transaction(['later'])
    assert.deepEqual((await place.read(ranges)).toSorted(), ['a', 'b', 'c', 'x', 'y'])
    assert.deepEqual((await place.read(ranges)).toSorted(), ['a', 'b', 'c', 'x', 'y'])
    assert.deepEqual(await place.read([{ topic, partition: 0, from: 1, to: 2 }]), ['b'])
    assert.deepEqual(await place.read([{ topic, partition: 2, from: 1, to: 1 }]), [])
    assert.deepEqual(await place.read([{ topic, partition: 0, from: 2, to: 5 }]), ['c', 'later'])
  })

  it('ends where the last offsets hold no record: marks of transactions, and what was aborted', async (t) => {
    const place = await setup(t)
    if (place === undefined) return
    await place.transaction(['a'])
    await place.transaction(['taken back', 'taken back'], 'abort')
    assert.deepEqual(await place.read(), ['a'])
  })

  it('ends when the records have expired since', async (t) => {
    const place = await setup(t)
    if (place === undefined) return
    const { topic } = place
    await place.transaction(['a', 'b', 'c'])
    const remove = (offset: string) =>
      withAdmin(place.kafka, place.brokers, async (admin) => {
        await admin.fetchTopicOffsets(topic)
        await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] })
      })
    await remove('2')
    const range = { topic, partition: 0, from: 0, to: 4 }
    assert.deepEqual(await place.read([range]), ['c'])
    await remove('4')
    assert.deepEqual(await place.read([range]), [])
  })

  it('reads no further while a record is worked on, and ends between two when aborted', async (t) => {
    const place = await setup(t)
    if (place === undefined) return
    await place.transaction(['a', 'b', 'c', 'd'])
    const [ranges] = await place.ranges()
    const stopping = new AbortController()
    const begun: string[] = []
    const ended: string[] = []
    const reading = place.reader.read(
      ranges!,
      async ({ value }) => {
        begun.push(String(value))
        assert.equal(begun.length, ended.length + 1)
        if (begun.length === 2) stopping.abort(new Error('enough'))
        await new Promise((resolve) => setTimeout(resolve, 50))
        ended.push(String(value))
      },
      stopping.signal,
    )
    await assert.rejects(reading, /enough/)
    assert.deepEqual(
      [begun, ended],
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
    )
    assert.deepEqual(await place.read(ranges), ['a', 'b', 'c', 'd'])
    const failing = place.reader.read(ranges!, () => Promise.reject(new Error('no room')), never)
    await assert.rejects(failing, /no room/)
    assert.deepEqual(await place.read(ranges), ['a', 'b', 'c', 'd'])
  })

  it('leaves no group behind, and none at all when there is nothing to read', async (t) => {
    const place = await setup(t)
    if (place === undefined) return
    const groups = () =>
      withAdmin(place.kafka, place.brokers, async (admin) =>
        (await admin.listGroups()).groups.filter(({ groupId }) => groupId.startsWith(place.topic)),
      )
    assert.deepEqual(await place.read(), [])
    assert.equal((await groups()).length, 0)
    await place.transaction(['a'])
    assert.deepEqual(await place.read(), ['a'])
    assert.equal((await groups()).length, 1)
    await place.reader.stop()
    await place.reader.stop()
    await until(async () => (await groups()).length === 0, 'no group')
  })

  it('says that the broker went away', async (t) => {
    const sockets = new Set<Socket>()
    let isAway = false
    const socketFactory: ISocketFactory = ({ host, port, onConnect }) => {
      const socket = connect({ host, port: isAway ? 1 : port }, onConnect)
      sockets.add(socket)
      return socket
    }
    const place = await setup(t, { socketFactory })
    if (place === undefined) return
    await place.transaction(['a'])
    const [range] = (await place.ranges())[0]!
    const reading = place.reader.read(
      // The second half is never written.
      [{ ...range!, to: range!.to + 1_000 }],
      () => {
        isAway = true
        for (const socket of sockets) socket.destroy()
      },
      never,
    )
    await assert.rejects(reading, { code: 'SERVICE_AWAY', service: 'kafka' })
    // So that kafkajs can close what it still tries.
    isAway = false
  })
})
