import type { Admin } from 'kafkajs'
import { messageOf } from '../job/errors.ts'
import { within } from '../lib/within.ts'
import type { Log } from '../telemetry/log.ts'
import type { Beyond } from './beyond.ts'
import { type Partition, partitionKey } from './source.ts'

/** For how long a new assignment may wait to hear what was finished of it. */
const TIMEOUT_MS = 15_000

/**
 * What the commits of these partitions say was finished beyond their offsets, by partitionKey. Without an answer in time it is
 * empty: work begins nevertheless, and some of it is done twice.
 */
export async function committedBeyond(
  admin: Admin,
  groupId: string,
  partitions: readonly Partition[],
  log: Log,
): Promise<ReadonlyMap<string, Beyond>> {
  const found = new Map<string, Beyond>()
  const topics = [...new Set(partitions.map(({ topic }) => topic))]
  if (topics.length === 0) return found
  try {
    const asked = admin.fetchOffsets({ groupId, topics })
    for (const { topic, partitions } of await within(
      asked,
      TIMEOUT_MS,
      () => new Error('no answer in time'),
    )) {
      for (const { partition, offset, metadata } of partitions) {
        if (metadata === null || metadata === '') continue
        found.set(partitionKey({ topic, partition }), { offset: Number(offset), text: metadata })
      }
    }
  } catch (error) {
    log.info(
      { reason: messageOf(error, 200) },
      'kafka does not say what was finished beyond the committed offsets; it may be done again',
    )
  }
  return found
}
