import type { Admin } from 'kafkajs'
import { sleep } from '../lib/abort.ts'

const AGAIN_AFTER_MS = 100

/**
 * Resolves when the group's coordinator answers. On a fresh broker it is still loading, which can crash a consumer's first join.
 * Rejects with the signal's reason, or with what the broker says otherwise.
 */
export async function coordinatorReady(
  admin: Admin,
  groupId: string,
  topics: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    try {
      await admin.fetchOffsets({ groupId, topics: [...topics] })
      return
    } catch (error) {
      if (!isLoading(error)) throw error
      await sleep(AGAIN_AFTER_MS, signal)
    }
  }
}

function isLoading(error: unknown): boolean {
  const type = (error as { type?: unknown }).type ?? (error as { cause?: { type?: unknown } }).cause?.type
  return (
    type === 'GROUP_LOAD_IN_PROGRESS' ||
    type === 'GROUP_COORDINATOR_NOT_AVAILABLE' ||
    type === 'NOT_COORDINATOR_FOR_GROUP'
  )
}
