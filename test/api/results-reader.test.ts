import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { eventsOf } from '../../src/api/events/event.ts'
import type { EventSource } from '../../src/api/events/event-log.ts'
import { RedisLog } from '../../src/api/events/redis-log.ts'
import { ResultsReader } from '../../src/api/events/results-reader.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { need } from '../need.ts'
import { silent } from '../timeseries/support.ts'
import { until } from '../until.ts'
import { resultOf } from './support.ts'

const PARTITIONS = 3

test('results are told in order and once, from where the group was, however its readers come and go', async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  if (broker === null || redis === null) return
  const run = `results${Date.now().toString(36)}`
  const kafka = createKafkaClient({ brokers: [broker], clientId: run }, silent)
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: run, numPartitions: PARTITIONS }] })
  const patience = { commandTimeoutMs: 30_000, startTimeoutMs: 60_000 }
  const log = new RedisLog({ url: redis, keyPrefix: run, ...patience }, silent)
  await log.start()
  const told: string[] = []
  log.subscribe(({ event }) => told.push(event.job_id))
  t.after(async () => {
    await log.stop()
    await admin.deleteTopics({ topics: [run] }).catch(() => undefined)
    await admin.disconnect()
  })
  const send = async (messages: { partition: number; value: string | null }[]) => {
    // kafkajs drops, without a word, what is for a partition that its producer does not know yet.
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic: run, messages })
    await producer.disconnect()
  }

  let count = 0
  /** Publishes results, one a partition in turn, and returns their ids. */
  const publish = async (partitions: readonly number[]) => {
    const ids = partitions.map(() => `job-${String(count++).padStart(3, '0')}`)
    const messages = ids.map((job_id, index) => ({
      partition: partitions[index]!,
      value: JSON.stringify(resultOf({ job_id, rows: 0 })),
    }))
    await send(messages)
    return ids
  }
  const append = (result: ResultMessage, source: EventSource) =>
    log.append(
      eventsOf(result, (_platform, id) => id),
      source,
    )
  const start = async (onResult: (result: ResultMessage, source: EventSource) => Promise<void>) => {
    const options = { brokers: [broker], topic: run, group: `${run}-${group}` }
    const reader = new ResultsReader(options, kafka, onResult, silent)
    t.after(() => reader.stop())
    await reader.start()
    return reader
  }
  const group = randomUUID()
  const all = () => [...told].sort()

  // Before there was a group.
  await publish([0, 1, 2, 0])
  const first = await start(append)
  let expected = await publish([0, 0, 1, 0, 1])
  await send([null, '', 'no JSON', '{}'].map((value) => ({ partition: 0, value })))
  expected = [...expected, ...(await publish([0]))]
  await until(() => told.length >= expected.length, 'the first results')
  assert.deepEqual(all(), expected)
  await until(() => first.healthy)
  await first.stop()

  // While nobody runs; on a partition where the group has never read anything, and on one that is added.
  await admin.createPartitions({ topicPartitions: [{ topic: run, count: PARTITIONS + 1 }] })
  await until(
    async () =>
      (await admin.fetchTopicMetadata({ topics: [run] })).topics[0]?.partitions.length === PARTITIONS + 1,
    'the broker knows of it',
  )
  expected = [...expected, ...(await publish([2, 0, 2, 3, 3]))]

  // It tells of one, and dies before it can say so.
  const saved = Promise.withResolvers<void>()
  const death = Promise.withResolvers<void>()
  const dying = await start(async (result, source) => {
    await append(result, source)
    saved.resolve()
    await death.promise
  })
  await saved.promise
  const stopped = dying.stop()
  death.reject(new Error('dead'))
  await stopped

  // The place where events go is away for a moment: it tries again, in order.
  let refusals = 2
  const last = await start(async (result, source) => {
    if (refusals-- > 0) throw new Error('away')
    await append(result, source)
  })
  expected = [...expected, ...(await publish([1, 3, 2, 0, 0]))]
  await until(() => told.length >= expected.length, 'everything')
  await last.stop()
  // A marker behind all of them: had something been told twice, it would be here by now.
  await append(resultOf({ job_id: 'the end', rows: 0 }), { topic: 'another', partition: 0, offset: 0 })
  await until(() => told.at(-1) === 'the end', 'the marker')
  told.pop()
  assert.deepEqual(all(), expected, 'each once, none left out')
})
