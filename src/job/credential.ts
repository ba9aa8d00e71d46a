import type { Authorisation } from './platform.ts'

/** The name of a platform's only credential. */
export const MAIN_CREDENTIAL = 'main'

/** One of a platform's keys, or accounts, with a quota of its own. */
export interface Credential {
  /** As the configuration names it: among the limits, in metrics and in the log. No secret. */
  readonly name: string
  /** Checked by the platform's own schema. */
  readonly value: unknown
}

/** What a credential was given for a while, and for how long it still has it, ms. */
export interface Lent {
  readonly authorisation: Authorisation
  readonly leftMs: number
}

/**
 * Where daemons share the tokens of one credential, so that one of them fetches for all. Nothing rejects: while the place is
 * away nothing is found there, and whoever asks may fetch.
 */
export interface TokenShelf {
  /** What another daemon has fetched, or this one before; null when there is none. */
  find(): Promise<Lent | null>
  /** True when it is for the caller to fetch now: the only one, until it has put or released, or has died. */
  claim(): Promise<boolean>
  /** Puts what was fetched where all find it. */
  put(lent: Lent): Promise<void>
  /** Ends a claim. */
  release(): Promise<void>
  /** Takes away what the platform has refused, unless it has been replaced. */
  discard(refused: Authorisation): Promise<void>
}
