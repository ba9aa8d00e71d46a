import type { Steps } from '../job/steps.ts'
import type { Tally } from './retry-policy.ts'
import type { Standing } from './standing.ts'

/** What the pipeline has to know of the job on whose behalf it calls a platform. */
export interface Errand {
  readonly priority: number
  /** When the job was taken in, or parked before that, Unix ms. */
  readonly sinceMs: number
  readonly expiresAtMs: number
  readonly signal: AbortSignal
  readonly tally: Tally
  readonly standing: Standing
  /** Undefined when nobody traces. */
  readonly trace?: Steps | undefined
  /** Whether it had better be put aside than wait on. */
  readonly isInTheWay: () => boolean
  /** Requests sent on its behalf so far. */
  calls: number
  /** Names of credentials whose token was refused and has been fetched anew for it; another refusal is final. */
  renewed: Set<string> | undefined
  /** When the platform last answered, Unix ms; written by the call, read for `observed_at`. */
  observedAtMs: number
  /** The creator's id as the platform normalises it, under which rows are written; the job's own until it is known. */
  creatorId: string
}

/** The same errand, which says once when the first call is made for it; also when that is one that it shares with others. */
export function observed(errand: Errand, begun: () => void): Errand {
  let { calls } = errand
  return Object.defineProperty(errand, 'calls', {
    get: () => calls,
    set: (now: number) => {
      const isFirst = calls === 0
      calls = now
      if (isFirst) begun()
    },
  })
}
