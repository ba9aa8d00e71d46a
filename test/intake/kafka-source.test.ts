import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, it, type TestContext } from 'node:test'
import kafkajs, { type Admin, type Kafka, type Producer } from 'kafkajs'
import type { IntakeOptions } from '../../src/intake/intake-options.ts'
import { KafkaSource } from '../../src/intake/kafka-source.ts'
import type { KafkaSourceOptions } from '../../src/intake/kafka-source-options.ts'
import { HEADERS } from '../../src/job/job.ts'
import type { Delivery } from '../../src/job/record.ts'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { createTopics } from '../../src/kafka/topics.ts'
import { describeSource, numbered, Run, silent } from '../contract/source.ts'
import { need, SERVICE_VARIABLES } from '../need.ts'
import { until } from '../until.ts'

let broker = ''
let kafka: Kafka
let admin: Admin
let producer: Producer
const topics: string[] = []

before(async () => {
  broker = process.env[SERVICE_VARIABLES.kafka] ?? ''
  if (broker === '') return
  kafka = createKafkaClient({ brokers: [broker], clientId: 'test' }, silent)
  admin = kafka.admin()
  producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await Promise.all([admin.connect(), producer.connect()])
})

after(async () => {
  if (broker === '') return
  await admin.deleteTopics({ topics }).catch(() => undefined)
  await Promise.all([admin.disconnect(), producer.disconnect()])
})

async function freshTopic(partitions: number): Promise<string> {
  const topic = `source-${randomUUID()}`
  topics.push(topic)
  await createTopics(admin, [{ topic, numPartitions: partitions }])
  return topic
}

function open(
  options: Partial<KafkaSourceOptions> & Pick<KafkaSourceOptions, 'groupId' | 'topics'>,
): KafkaSource {
  // A rebalance is found out by the next heart-beat. Nobody here dies, so no session has to end.
  const times = {
    sessionTimeoutMs: 30_000,
    heartbeatIntervalMs: 100,
    rebalanceTimeoutMs: 30_000,
    fetchWaitMs: 50,
  }
  return new KafkaSource({ brokers: [broker], lagEveryMs: 100, ...times, ...options }, kafka, silent)
}

async function publish(topic: string, partition: number, values: readonly string[]): Promise<void> {
  await producer.send({ topic, messages: values.map((value) => ({ value, partition })) })
}

describeSource('Kafka (kafkajs)', async (t) => {
  if (need(t, 'kafka') === null) return null
  const topic = await freshTopic(2)
  const groupId = `group-${randomUUID()}`
  return {
    partitions: [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ],
    publish: ({ partition }, values) => publish(topic, partition, values),
    open: () => open({ groupId, topics: [topic] }),
    close: () => Promise.resolve(),
  }
})

describe('Kafka source', () => {
  const member = (
    groupId: string,
    topic: string,
    onDelivery: (delivery: Delivery) => void,
    options: IntakeOptions = {},
  ) => new Run(open({ groupId, topics: [topic] }), options, onDelivery)

  const fresh = async (t: TestContext, partitions: number) =>
    need(t, 'kafka') === null
      ? null
      : { topic: await freshTopic(partitions), groupId: `group-${randomUUID()}` }

  it('loses nothing when members join and leave, and keeps what it works on in the partitions it keeps', async (t) => {
    const place = await fresh(t, 6)
    if (place === null) return
    const { topic, groupId } = place
    const done = new Map<string, number>()
    const work = (delivery: Delivery) => {
      setTimeout(
        () => {
          if (delivery.lost.aborted) return
          const value = delivery.record.value!.toString()
          done.set(value, (done.get(value) ?? 0) + 1)
          delivery.settle()
        },
        5 + Math.random() * 30,
      )
    }
    let total = 0
    let more = true
    const publishing = (async () => {
      for (; more || total % 600 !== 0; total += 100) {
        // Never so far ahead that the rest would take long, always enough to do.
        await until(() => total - done.size < 1_000, 'the members to keep up')
        await publish(topic, (total / 100) % 6, numbered(total, 100))
      }
    })()
    const options = { jobsMax: 200 }
    await using first = await member(groupId, topic, work, options).start()
    await until(() => done.size > 300, 'the first member at work')
    await using second = await member(groupId, topic, work, options).start()
    await until(() => second.deliveries.length > 100, 'the second member at work')
    await using third = await member(groupId, topic, work, options).start()
    await until(() => third.deliveries.length > 100, 'the third member at work')
    await second.intake.drain(AbortSignal.timeout(5_000))
    await second.intake.stop()
    more = false
    await publishing
    await until(() => done.size === total, `all ${total} jobs`)
    const repeated = [...done.values()].filter((count) => count > 1).length
    t.diagnostic(`${repeated} of ${total} jobs were done more than once`)
    // Each of the members had at most 200 in flight when a partition changed hands.
    assert.ok(repeated <= 3 * 3 * 200, `${repeated} repeated`)
    assert.ok((await first.counter('kafka_rebalances_total')) >= 2)
    assert.deepEqual([...first.fatal, ...second.fatal, ...third.fatal], [])
  })

  it('gives a lost partition away: its deliveries are aborted, its commits are refused', async (t) => {
    const place = await fresh(t, 2)
    if (place === null) return
    const { topic, groupId } = place
    await publish(topic, 0, numbered(0, 10))
    await publish(topic, 1, numbered(10, 10))
    await using first = await member(groupId, topic, () => undefined).start()
    await until(() => first.deliveries.length === 20, 'all records at the first member')
    await using second = await member(groupId, topic, (delivery) => delivery.settle()).start()
    await until(() => second.deliveries.length === 10, 'one partition at the second')
    const gone = first.deliveries.filter(({ lost }) => lost.aborted)
    const kept = first.deliveries.filter(({ lost }) => !lost.aborted)
    assert.equal(gone.length, 10)
    assert.equal(first.intake.inFlight, 10)
    assert.deepEqual(
      new Set(gone.map(({ record }) => record.partition)),
      new Set(second.deliveries.map(({ record }) => record.partition)),
    )
    for (const delivery of first.deliveries) delivery.settle()
    await until(
      async () => (await first.counter('kafka_committed_total')) === 10,
      'the commit of what was kept',
    )
    assert.equal(first.deliveries.length, 20, 'a kept partition was delivered again')
    assert.equal(kept.length, 10)
  })

  it('takes over what a killed member had not committed', async (t) => {
    const place = await fresh(t, 1)
    if (place === null) return
    const { topic, groupId } = place
    await publish(topic, 0, numbered(0, 10))
    const dead = member(groupId, topic, () => undefined)
    await dead.start()
    await until(() => dead.deliveries.length === 10, 'the records')
    for (const delivery of dead.deliveries.slice(0, 4)) delivery.settle()
    await until(async () => (await dead.counter('kafka_committed_total')) === 4, 'the commit')
    await using heir = await member(groupId, topic, (delivery) => delivery.settle()).start()
    await dead.intake.stop()
    await until(() => heir.deliveries.length >= 6, 'the rest')
    assert.deepEqual(heir.values(), numbered(4, 6))
  })

  it('holds a retry until it is due, meanwhile delivering others, and holds no lag against it', async (t) => {
    const place = await fresh(t, 1)
    if (place === null) return
    const { topic, groupId } = place
    const retryTopic = await freshTopic(1)
    // Its own clock: what is not due yet stays so for as long as the rest takes.
    let nowMs = Date.now()
    const dueAtMs = nowMs + 1_500
    const due = (atMs: number) => ({ [HEADERS.dueAt]: Buffer.from(String(atMs)) })
    await producer.send({
      topic: retryTopic,
      messages: [
        { value: 'due', headers: due(nowMs - 1) },
        { value: 'early', headers: due(dueAtMs) },
        { value: 'behind', headers: due(dueAtMs - 1_000) },
      ],
    })
    const arrived = new Set<string>()
    const source = open({ groupId, topics: [topic, retryTopic] })
    const onDelivery = (delivery: Delivery) => {
      arrived.add(delivery.record.value!.toString())
      delivery.settle()
    }
    const options = { retryTopics: [retryTopic], jobsMax: 2 }
    await using run = await new Run(source, options, onDelivery, () => nowMs).start()
    await until(() => arrived.has('due'), 'the retry that is due')
    await publish(topic, 0, numbered(0, 5))
    await until(() => arrived.size === 6, 'the jobs besides')
    assert.ok(!arrived.has('early') && !arrived.has('behind'))
    const lag = async () =>
      (await run.metrics.kafka_lag_records.get()).values.find((v) => v.labels.topic === retryTopic)
    await until(async () => (await lag()) !== undefined, 'a figure for the lag')
    assert.equal((await lag())?.value, 0)
    assert.equal(arrived.size, 6)
    nowMs = dueAtMs
    await until(() => arrived.size === 8, 'the retries')
  })

  it('shares the intake among topics by their weights, however many partitions each has', async (t) => {
    const light = await fresh(t, 6)
    if (light === null) return
    const heavy = await freshTopic(1)
    const count = 6_000
    // Short: the first fetch of each topic holds all of it, and weights share what is there.
    const lines = numbered(0, count)
    for (let from = 0; from < count; from += 1_000) {
      const part = lines.slice(from, from + 1_000)
      await publish(heavy, 0, part)
      await publish(light.topic, (from / 1_000) % 6, part)
    }
    const source = open({ groupId: light.groupId, topics: [light.topic, heavy] })
    const options = { jobsMax: 50, weights: { [heavy]: 4 } }
    const order: string[] = []
    const work = (delivery: Delivery) => {
      order.push(delivery.record.topic)
      // Slower than records can be fetched on a busy machine: weights share what is there.
      setTimeout(() => delivery.settle(), 40)
    }
    await using run = await new Run(source, options, work).start()
    await until(() => order.length >= 4_000, 'four thousand records')
    const share = order.slice(500, 4_000).filter((topic) => topic === heavy).length / 3_500
    t.diagnostic(`${(share * 100).toFixed(1)}% of the topic with four fifths of the weight`)
    // While a busy machine lets one of them run dry, the other has all the room; an even share is a half.
    assert.ok(share > 0.6 && share < 0.9, `${share}`)
    await run.intake.stop()
  })

  it('knows the lag of partitions, of paused ones too', async (t) => {
    const place = await fresh(t, 1)
    if (place === null) return
    const { topic, groupId } = place
    await using run = await member(groupId, topic, () => undefined, { jobsMax: 3 }).start()
    await publish(topic, 0, numbered(0, 10))
    const lag = async () => (await run.metrics.kafka_lag_records.get()).values[0]?.value
    await until(async () => (await lag()) === 10, 'the lag before')
    await until(
      async () => (await run.metrics.kafka_paused_partitions.get()).values[0]?.value === 1,
      'the pause',
    )
    await publish(topic, 0, numbered(10, 5))
    for (const delivery of run.deliveries) delivery.settle()
    await until(async () => ((await lag()) ?? 99) <= 12 && run.deliveries.length >= 6, 'the lag after')
  })

  it('reads a topic that was made anew from its start', async (t) => {
    const place = await fresh(t, 1)
    if (place === null) return
    const { topic, groupId } = place
    await publish(topic, 0, numbered(0, 20))
    await using run = await member(groupId, topic, (delivery) => delivery.settle()).start()
    await until(
      async () => (await run.counter('kafka_committed_total')) === 20,
      'the first life of the topic',
    )
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !(await admin.listTopics()).includes(topic), 'the deletion')
    await createTopics(admin, [{ topic, numPartitions: 1 }])
    await publish(topic, 0, numbered(100, 3))
    await until(() => run.deliveries.length >= 23, 'the second life of the topic')
    assert.deepEqual(run.values().slice(-3), numbered(100, 3))
    assert.deepEqual(run.fatal, [])
  })

  it('rejects soon when no broker answers', async () => {
    const nowhere = { brokers: ['127.0.0.1:1'], clientId: 'test', retries: 3 }
    const source = new KafkaSource(
      { brokers: nowhere.brokers, groupId: 'g', topics: ['t'], startTimeoutMs: 5_000 },
      createKafkaClient(nowhere, silent),
      silent,
    )
    await assert.rejects(new Run(source).start(), {
      code: 'SERVICE_AWAY',
      service: 'kafka',
      message: /127\.0\.0\.1:1/,
    })
  })
})
