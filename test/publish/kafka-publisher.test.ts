import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { KafkaSource } from '../../src/intake/kafka-source.ts'
import type { OutRecord } from '../../src/job/record.ts'
import { createKafkaClient, withAdmin } from '../../src/kafka/client.ts'
import { ensureTopics, ROOMY } from '../../src/kafka/topics.ts'
import { KafkaPublisher, type KafkaPublisherOptions } from '../../src/publish/kafka-publisher.ts'
import { Run, silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'

const never = new AbortController().signal

async function setup(t: TestContext, options: Partial<KafkaPublisherOptions> = {}) {
  const broker = need(t, 'kafka')
  if (broker === null) return null
  const brokers = [broker]
  const kafka = createKafkaClient({ brokers, clientId: 'test' }, silent)
  const topic = `publish-${randomUUID()}`
  await ensureTopics(kafka, brokers, [{ topic, partitions: 2, config: ROOMY }], { create: true, log: silent })
  const publisher = new KafkaPublisher({ brokers, ...options }, kafka, silent)
  await publisher.start()
  return {
    broker,
    kafka,
    topic,
    publisher,
    read: async (count: number) => {
      const source = new KafkaSource(
        { brokers, groupId: topic, topics: [topic], fetchWaitMs: 50 },
        kafka,
        silent,
      )
      await using run = await new Run(source).start()
      await until(() => run.deliveries.length >= count, `${count} records`)
      return run.deliveries.map(({ record }) => record)
    },
    [Symbol.asyncDispose]: async () => {
      await publisher.stop()
      // Else it goes with the broker.
      await withAdmin(kafka, brokers, (admin) => admin.deleteTopics({ topics: [topic] })).catch(
        () => undefined,
      )
    },
  }
}

describe('Kafka publisher', () => {
  for (const gzip of [false, true]) {
    it(`publishes key, value and headers byte for byte${gzip ? ', gzipped' : ''}`, async (t) => {
      await using place = await setup(t, { gzip })
      if (place === null) return
      const headers: OutRecord['headers'] = {
        text: Buffer.from('ü\u2028'),
        bytes: randomBytes(40),
        twice: [Buffer.from('1'), Buffer.from('2')],
        empty: Buffer.alloc(0),
        constructor: Buffer.from('inherited'),
        toString: [Buffer.from('a'), Buffer.from('b')],
      }
      const records = [
        { key: Buffer.from('instagram:x'), value: randomBytes(500), headers },
        { key: null, value: null, headers: {} },
        { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: {} },
      ]
      await place.publisher.publish(place.topic, records, never)
      const back = await place.read(3)
      for (const expected of records) {
        const found = back.find(({ value }) =>
          value === null ? expected.value === null : expected.value?.equals(value),
        )
        assert.ok(found !== undefined)
        assert.deepEqual(found.key, expected.key)
        assert.deepEqual(Object.keys(found.headers).length, Object.keys(expected.headers).length)
        for (const name of Object.keys(expected.headers)) {
          assert.deepEqual(found.headers[name], expected.headers[name as keyof typeof expected.headers], name)
        }
      }
    })
  }

  it('keeps the order of records of one key over many concurrent calls', async (t) => {
    await using place = await setup(t)
    if (place === null) return
    const started = performance.now()
    const calls = Array.from({ length: 5_000 }, (_, n) =>
      place.publisher.publish(
        place.topic,
        [{ key: Buffer.from(`k${n % 3}`), value: Buffer.from(String(n)), headers: {} }],
        never,
      ),
    )
    await Promise.all(calls)
    t.diagnostic(`5,000 calls in ${Math.round(performance.now() - started)} ms`)
    const back = await place.read(5_000)
    assert.equal(back.length, 5_000)
    for (const key of ['k0', 'k1', 'k2']) {
      const numbers = back
        .filter((record) => record.key!.toString() === key)
        .map(({ value }) => Number(value))
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      )
    }
  })

  it('refuses a record that is too large, and only that', async (t) => {
    await using place = await setup(t)
    if (place === null) return
    const sizes = [10, 3_000_000, 20, 1_200_000]
    const results = await Promise.allSettled(
      sizes.map((size) =>
        place.publisher.publish(place.topic, [{ key: null, value: Buffer.alloc(size), headers: {} }], never),
      ),
    )
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    )
    const [, refused] = results
    assert.equal(refused!.status === 'rejected' && refused!.reason.code, 'RECORD_REFUSED')
    assert.equal(place.publisher.healthy, true)
  })

  it('waits for a topic that is missing without holding up others', async (t) => {
    await using place = await setup(t)
    if (place === null) return
    const giveUp = new AbortController()
    const record = { key: null, value: Buffer.from('x'), headers: {} }
    const waiting = assert.rejects(
      place.publisher.publish(`missing-${randomUUID()}`, [record], giveUp.signal),
      /enough/,
    )
    await until(() => !place.publisher.healthy, 'the news that something cannot be published')
    await place.publisher.publish(place.topic, [record], never)
    giveUp.abort(new Error('enough'))
    await waiting
    await until(() => place.publisher.healthy, 'health after nobody waits for it')
  })

  it('goes on by itself when the broker was away', async (t) => {
    await using place = await setup(t)
    if (place === null) return
    const brokers = [place.broker]
    const gate = new Gate()
    const kafka = createKafkaClient(
      { brokers, clientId: 'test', retries: 2, socketFactory: gate.socketFactory },
      silent,
    )
    const publisher = new KafkaPublisher({ brokers }, kafka, silent)
    await publisher.start()
    const record = (n: number) => ({ key: null, value: Buffer.from(String(n)), headers: {} })
    await publisher.publish(place.topic, [record(0)], never)
    gate.close()
    const publishing = publisher.publish(place.topic, [record(1), record(2)], never)
    await until(() => !publisher.healthy, 'the news that Kafka is away')
    gate.open()
    await publishing
    await until(() => publisher.healthy, 'health')
    // A batch whose reply was cut off is published again, so there may be more than three.
    const source = new KafkaSource(
      { brokers, groupId: place.topic, topics: [place.topic], fetchWaitMs: 50 },
      place.kafka,
      silent,
    )
    await using run = await new Run(source).start()
    await until(() => new Set(run.values()).size === 3, 'all three records')
    assert.deepEqual(
      run
        .values()
        .toSorted()
        .filter((value, index, all) => value !== all[index - 1]),
      ['0', '1', '2'],
    )
    await publisher.stop()
    await assert.rejects(publisher.publish(place.topic, [record(3)], never), { code: 'PUBLISHER_STOPPED' })
  })

  it('rejects its start soon when no broker answers', async () => {
    const brokers = ['127.0.0.1:1']
    const publisher = new KafkaPublisher(
      { brokers },
      createKafkaClient({ brokers, clientId: 'test', retries: 1 }, silent),
      silent,
    )
    await assert.rejects(publisher.start(), { code: 'SERVICE_AWAY', service: 'kafka' })
    await publisher.stop()
  })
})

/** Cuts a client off from its broker where the sockets are made, and lets it through again. */
class Gate {
  readonly #sockets = new Set<Socket>()
  #isOpen = true

  readonly socketFactory = ({
    host,
    port,
    onConnect,
  }: {
    host: string
    port: number
    onConnect: () => void
  }) => {
    // Nobody listens on port 1: refused, as a dead broker would.
    const socket = connect({ host, port: this.#isOpen ? port : 1 }, onConnect)
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    return socket
  }

  close(): void {
    this.#isOpen = false
    // With an error, as a reset is: kafkajs does not listen for a bare `close`.
    for (const socket of this.#sockets) socket.destroy(new Error('reset'))
  }

  open(): void {
    this.#isOpen = true
  }
}
