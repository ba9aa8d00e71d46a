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
export interface ResultMessage {
  job_id: string
  platform: string
  creator_id: string
  job_type: string
  status: TerminalStatus
  reason: string | null
  message: string | null
  attempts: number
  rows: number
  /** Keys in the store. */
  pictures: string[]
  pictures_rejected: { url: string; reason: 'picture_rejected'; message: string }[]
  data: unknown
  started_at: string
  finished_at: string
}
