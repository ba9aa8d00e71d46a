import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import kafkajs, { type Admin } from 'kafkajs'
import { KafkaSource } from '../../src/intake/kafka-source.ts'
import type { Delivery } from '../../src/job/record.ts'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { createTopics } from '../../src/kafka/topics.ts'
import { numbered, Run, silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { startKafka } from '../services/kafka.ts'
import { until } from '../until.ts'

const JOBS = 10_000
const PARTITIONS = 6
const IN_FLIGHT_MAX = 100
/** So that a fetch brings a few hundred: who has all records in memory notices nothing of a broker that is away. */
const PADDING = 'x'.repeat(1_000)

test('10,000 jobs survive members that come and go and a broker that is killed twice: none is lost, no commit goes back', {
  timeout: 500_000,
}, async (t) => {
  if (need(t, 'kafka') === null) return
  const broker = await startKafka()
  const brokers = [broker.address]
  const client = () => createKafkaClient({ brokers, clientId: 'test', connectTimeoutMs: 1_000 }, silent)
  const topic = `trouble-${randomUUID()}`
  const groupId = `group-${randomUUID()}`
  const admin: Admin = client().admin({ retry: { retries: 2 } })
  const members: Run[] = []
  let sampling: NodeJS.Timeout | undefined
  t.after(async () => {
    clearInterval(sampling)
    await Promise.all(members.map((member) => member.intake.stop()))
    await admin.disconnect()
    await broker.stop()
  })
  await admin.connect()
  await createTopics(admin, [{ topic, numPartitions: PARTITIONS }])
  const producer = client().producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await producer.connect()
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const values = numbered(0, JOBS).filter((_, index) => index % PARTITIONS === partition)
    while (values.length > 0) {
      const messages = values.splice(0, 500).map((key) => ({ key, value: PADDING, partition }))
      await producer.send({ topic, messages })
    }
  }
  await producer.disconnect()

  const done = new Map<string, number>()
  const work = (delivery: Delivery) => {
    setTimeout(
      () => {
        if (delivery.lost.aborted) return
        const value = delivery.record.key!.toString()
        done.set(value, (done.get(value) ?? 0) + 1)
        delivery.settle()
      },
      100 + Math.random() * 300,
    )
  }
  const join = async () => {
    const source = new KafkaSource(
      {
        ...{ brokers, groupId, topics: [topic], lagEveryMs: 0, fetchWaitMs: 50 },
        ...{ sessionTimeoutMs: 3_000, heartbeatIntervalMs: 100, rebalanceTimeoutMs: 3_000 },
      },
      client(),
      silent,
    )
    const member = new Run(source, { jobsMax: IN_FLIGHT_MAX }, work)
    members.push(member)
    return await member.start()
  }
  const leave = async (member: Run) => {
    await member.intake.drain(AbortSignal.timeout(5_000))
    await member.intake.stop()
    members.splice(members.indexOf(member), 1)
  }

  // Looked at all the while: no commit may ever fall behind one that was there before.
  const committed = new Map<number, number>()
  let looking = false
  let looks = 0
  sampling = setInterval(async () => {
    if (looking) return
    looking = true
    try {
      const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
      for (const { partition, offset } of found?.partitions ?? []) {
        const before = committed.get(partition) ?? -1
        assert.ok(Number(offset) >= before, `partition ${partition} went from ${before} to ${offset}`)
        committed.set(partition, Number(offset))
      }
      looks++
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
    } finally {
      looking = false
    }
  }, 100)

  await join()
  await until(() => done.size > 500, 'the first member at work')
  await Promise.all([join(), join()])
  const recoveries: number[] = []
  for (const share of [0.25, 0.5]) {
    await until(() => done.size > JOBS * share, `${share} of the jobs`)
    await broker.kill()
    await broker.restart()
    const startedAtMs = performance.now()
    const before = done.size
    await until(() => done.size > before + 3 * IN_FLIGHT_MAX, 'work after the restart')
    recoveries.push((performance.now() - startedAtMs) / 1_000)
    const guest = await join()
    await until(() => guest.deliveries.length > 50 || done.size === JOBS, 'the guest at work')
    await leave(guest)
  }
  await until(() => done.size === JOBS, 'all jobs')
  for (const member of [...members]) await leave(member)
  clearInterval(sampling)

  const [offsets] = await admin.fetchOffsets({ groupId, topics: [topic] })
  assert.equal(
    offsets?.partitions.reduce((sum, { offset }) => sum + Number(offset), 0),
    JOBS,
  )
  const repeated = [...done.values()].reduce((sum, count) => sum + count - 1, 0)
  // Each of eight changes of hands can repeat what was in flight and not committed at each of four members.
  assert.ok(repeated <= 8 * 4 * IN_FLIGHT_MAX, `${repeated} repeated`)
  assert.ok(looks > 20)
  t.diagnostic(
    `${repeated} of ${JOBS} jobs were done more than once; work went on ${recoveries.map((s) => s.toFixed(1)).join(' and ')} s after the broker was back`,
  )
})

test('a broker that keeps little beside an offset still keeps the offset', async (t) => {
  if (need(t, 'kafka') === null) return
  const broker = await startKafka({
    properties: { 'offset.metadata.max.bytes': '10', 'broker.session.timeout.ms': '30000' },
  })
  const brokers = [broker.address]
  const kafka = createKafkaClient({ brokers, clientId: 'test' }, silent)
  const admin = kafka.admin()
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  const topic = `small-${randomUUID()}`
  const options = { brokers, groupId: topic, topics: [topic], lagEveryMs: 0, fetchWaitMs: 50 }
  const first = new Run(new KafkaSource(options, kafka, silent))
  const next = new Run(new KafkaSource(options, kafka, silent), {}, (delivery) => delivery.settle())
  t.after(async () => {
    await Promise.all([first.intake.stop(), next.intake.stop(), admin.disconnect(), producer.disconnect()])
    await broker.stop()
  })
  await Promise.all([admin.connect(), producer.connect()])
  await createTopics(admin, [{ topic, numPartitions: 1 }])
  await producer.send({ topic, messages: numbered(0, 10).map((value) => ({ value, partition: 0 })) })
  await first.start()
  await until(() => first.deliveries.length === 10, 'the records')
  for (const index of [0, 1, 2, 4, 6]) first.deliveries[index]!.settle()
  await until(async () => (await first.counter('kafka_committed_total')) === 3, 'the commit')
  await first.intake.stop()
  await next.start()
  await until(() => next.deliveries.length === 7, 'the rest, with what was finished beyond')
  assert.deepEqual(next.values(), numbered(3, 7))
})
