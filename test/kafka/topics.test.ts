import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import type { Admin } from 'kafkajs'
import { checkKafka, createKafkaClient, withAdmin } from '../../src/kafka/client.ts'
import { createTopics, ensureTopics, missingTopics } from '../../src/kafka/topics.ts'
import { silent } from '../contract/source.ts'
import { need } from '../need.ts'

describe('topics', () => {
  const setup = (t: TestContext) => {
    const broker = need(t, 'kafka')
    if (broker === null) return null
    const brokers = [broker]
    return { brokers, kafka: createKafkaClient({ brokers, clientId: 'test' }, silent) }
  }

  it('creates what is missing with its partitions and configuration, also when several do so at once', async (t) => {
    const place = setup(t)
    if (place === null) return
    const { brokers, kafka } = place
    const topic = `topics-${randomUUID()}`
    const specs = [{ topic, partitions: 3, config: { 'retention.ms': '60000' } }]
    const options = { create: true, log: silent }
    await Promise.all([1, 2, 3].map(() => ensureTopics(kafka, brokers, specs, options)))
    assert.deepEqual(await ensureTopics(kafka, brokers, specs, options), [])
    await withAdmin(kafka, brokers, async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
      assert.equal(topics[0]!.partitions.length, 3)
      const configs = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }],
      })
      assert.equal(configs.resources[0]!.configEntries[0]!.configValue, '60000')
      await admin.deleteTopics({ topics: [topic] }).catch(() => undefined)
    })
  })

  it('waits for a broker that does not know the new topic yet', async (t) => {
    const place = setup(t)
    if (place === null) return
    const { brokers, kafka } = place
    const topic = `topics-${randomUUID()}`
    const topics = [{ topic, numPartitions: 2 }]
    await withAdmin(kafka, brokers, async (admin) => {
      let looks = 0
      // The topic comes into being after the first look, which a broker does to us now and then.
      const late = {
        ...admin,
        createTopics: async () => true,
        async fetchTopicMetadata(query: { topics: string[] }) {
          looks += 1
          if (looks === 2) await admin.createTopics({ topics })
          return await admin.fetchTopicMetadata(query)
        },
      } as Admin
      await createTopics(late, topics)
      assert.ok(looks >= 2)
      assert.deepEqual(await missingTopics(kafka, brokers, [topic]), [])
      await admin.deleteTopics({ topics: [topic] }).catch(() => undefined)
    })
  })

  it('names all that are missing when it may not create them', async (t) => {
    const place = setup(t)
    if (place === null) return
    const { brokers, kafka } = place
    const names = [`missing-${randomUUID()}`, `missing-${randomUUID()}`]
    assert.deepEqual(await missingTopics(kafka, brokers, names), names)
    await assert.rejects(
      ensureTopics(
        kafka,
        brokers,
        names.map((topic) => ({ topic })),
        { create: false, log: silent },
      ),
      (error: Error & { kind?: string }) =>
        names.every((name) => error.message.includes(name)) && error.kind === 'usage',
    )
  })

  it('says why the broker does not create a topic', async (t) => {
    const place = setup(t)
    if (place === null) return
    const { brokers, kafka } = place
    await assert.rejects(
      ensureTopics(kafka, brokers, [{ topic: `x-${randomUUID()}`, replicationFactor: 3 }], {
        create: true,
        log: silent,
      }),
      { code: 'KAFKA_TOPICS_REFUSED', message: /eplication/ },
    )
  })

  it('tells a broker that answers from one that does not', async (t) => {
    const nowhere = { brokers: ['127.0.0.1:1'], clientId: 'test', retries: 1 }
    await assert.rejects(checkKafka(createKafkaClient(nowhere, silent), nowhere.brokers), {
      code: 'SERVICE_AWAY',
      kind: 'service_away',
    })
    const place = setup(t)
    if (place !== null) await checkKafka(place.kafka, place.brokers)
  })
})
