import { AttemptError } from '../job/errors.ts'
import type { Permit } from '../job/permit.ts'
import type { LaneEntry } from './lane.ts'

/** A call that waits for its permit. */
export interface Waiter extends LaneEntry {
  readonly endpoint: string
  /** The credential that it has to be made with; undefined: whichever has most room. */
  readonly credential: string | undefined
  readonly cost: number
  /** Unix ms; a job that waits past it is given up. */
  readonly expiresAtMs: number
  readonly signal: AbortSignal
  /** True when requests have been sent for its job already: giving it up would waste them. */
  readonly begun: boolean
  /** Asked now and then: whether the job had better be put aside than wait on. */
  readonly isInTheWay: () => boolean
  readonly queuedAtMs: number
  readonly resolve: (permit: Permit) => void
  readonly reject: (error: unknown) => void
}

/** What a call is told that waited past its job's `expires_at`. */
export function expired(): AttemptError {
  return new AttemptError('expired', 'expires_at passed while the job waited for a permit')
}
