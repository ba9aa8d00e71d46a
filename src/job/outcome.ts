import { z } from 'zod'
import type { JobMessage } from './job.ts'
import type { PictureRequest } from './picture.ts'
import type { Reason } from './reason.ts'
import type { AdapterRow } from './row.ts'

/** What an adapter made of a job: everything that has to be stored before the job is done. */
export interface Harvest {
  readonly rows?: readonly AdapterRow[]
  readonly pictures?: readonly PictureRequest[]
  /** Published before the parent is done; their ids derive from the parent's, so a repetition publishes the same. */
  readonly followUps?: readonly FollowUp[]
  /** Goes into the result as it is. JSON. */
  readonly data?: unknown
}

/** A job that follows from another: platform, creator and requested_at default to the parent's. */
export type FollowUp = Partial<JobMessage> & Pick<JobMessage, 'job_type'>

/** How one run of a job ended. */
export type Outcome =
  | { readonly status: 'done'; readonly harvest: Harvest; readonly observedAtMs: number }
  | { readonly status: 'skipped'; readonly reason: 'fresh' }
  | { readonly status: 'retry'; readonly reason: Reason; readonly message: string; readonly delayMs: number }
  | {
      readonly status: 'dead'
      readonly reason: Reason
      readonly message: string
      readonly observedAtMs?: number
    }

/** The statuses that end a job. */
export type TerminalStatus = 'done' | 'skipped' | 'dead'

/** A result: the value of a record on the results topic, JSON. Fields are snake_case: they are the contract. */
export const resultSchema = z
  .object({
    job_id: z.string(),
    platform: z.string().describe('Empty for a record that was no job.'),
    creator_id: z.string().describe('As the producer wrote it.'),
    job_type: z.string(),
    status: z.enum(['done', 'skipped', 'dead']),
    reason: z.string().nullable().describe('A code of docs/reasons.md, when not done.'),
    message: z.string().nullable(),
    replayed: z
      .boolean()
      .describe(
        'True for the same result sent again, because the job was delivered again after it had ended.',
      ),
    attempts: z.int(),
    rows: z.int().describe('Rows that were stored.'),
    pictures: z.array(z.string()).describe('Keys in the store.'),
    pictures_rejected: z.array(
      z.object({ url: z.string(), reason: z.literal('picture_rejected'), message: z.string() }),
    ),
    data: z.unknown().describe('What the adapter returned.'),
    started_at: z.iso.datetime(),
    finished_at: z.iso.datetime(),
  })
  .meta({ id: 'Result', title: 'The result of a millrace job' })

export type ResultMessage = z.output<typeof resultSchema>
