import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Partitioners } from 'kafkajs'
import { keyPartitioner } from '../../src/kafka/partitioner.ts'

const partitions = (count: number) =>
  Array.from({ length: count }, (_, partitionId) => ({
    ...{ partitionId, partitionErrorCode: 0, leader: 0, replicas: [0], isr: [0] },
  }))

test('a key has the partition that kafkajs and Java choose for it', () => {
  const [ours, theirs] = [keyPartitioner(), Partitioners.DefaultPartitioner()]
  const keys = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => Buffer.from(text)),
  )
  fc.assert(
    fc.property(keys, fc.integer({ min: 1, max: 1_000 }), (key, count) => {
      const args = { topic: 'topic', partitionMetadata: partitions(count), message: { key, value: null } }
      assert.equal(ours(args), theirs(args))
    }),
    { numRuns: 2_000 },
  )
})

test('without a key each partition has its turn', () => {
  const choose = keyPartitioner()
  const args = { topic: 'topic', partitionMetadata: partitions(4), message: { key: null, value: null } }
  const chosen = Array.from({ length: 8 }, () => choose(args))
  assert.deepEqual([...new Set(chosen)].sort(), [0, 1, 2, 3])
})

test('a record that names its partition has it', () => {
  const args = {
    ...{ topic: 'topic', partitionMetadata: partitions(4) },
    message: { key: Buffer.from('key'), value: null, partition: 3 },
  }
  assert.equal(keyPartitioner()(args), 3)
})
