import { z } from 'zod'
import type { ResultMessage } from '../../job/outcome.ts'

/** What listeners are told: a creator has a new snapshot, or a job has ended. A job with rows is both, in this order. */
export const eventSchema = z
  .object({
    kind: z.enum(['snapshot', 'job']),
    platform: z.string(),
    creator_id: z.string().describe('As the platform normalises it.'),
    job_id: z.string(),
    job_type: z.string(),
    status: z.enum(['done', 'skipped', 'dead']),
    reason: z.string().nullable(),
    rows: z.int(),
    finished_at: z.iso.datetime(),
    data: z.unknown().describe('Of a snapshot: what the adapter returned, when it is small.'),
  })
  .meta({ id: 'Event', title: 'An event of the stream' })

export type ApiEvent = z.output<typeof eventSchema>

/** Ids grow: `<Unix ms>-<number>`. */
export interface StoredEvent {
  readonly id: string
  readonly event: ApiEvent
}

const DATA_LENGTH_MAX = 4_096

/** `normalise`: a creator's id as the platform writes it. None for a record that was no job. */
export function eventsOf(
  result: ResultMessage,
  normalise: (platform: string, creatorId: string) => string,
): ApiEvent[] {
  const { platform, job_id, job_type, status, reason, rows, finished_at, data } = result
  if (platform === '') return []
  const creator_id = normalise(platform, result.creator_id)
  const job: ApiEvent = {
    kind: 'job',
    ...{ platform, creator_id, job_id, job_type, status, reason, rows, finished_at },
    data: null,
  }
  if (status !== 'done' || rows === 0) return [job]
  const isSmall = JSON.stringify(data ?? null).length <= DATA_LENGTH_MAX
  return [{ ...job, kind: 'snapshot', data: isSmall ? (data ?? null) : null }, job]
}

/** Whether id `a` comes after id `b`. */
export function isAfter(a: string, b: string): boolean {
  const [aMs = 0, aSeq = 0] = a.split('-').map(Number)
  const [bMs = 0, bSeq = 0] = b.split('-').map(Number)
  return aMs > bMs || (aMs === bMs && aSeq > bSeq)
}
