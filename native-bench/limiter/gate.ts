/** A request that may be sent. */
export interface Pass {
  /** The head of its reply has come back. */
  replied(): void
}

/** One daemon's way to its permits. */
export interface Gate {
  /** Waits for the right to send one request, which has to be sent in the same tick. Rejects once `signal` is aborted. */
  acquire(endpoint: string, signal: AbortSignal): Promise<Pass>
  stop(): Promise<void>
}

/** A limiter to be compared. */
export interface Contestant {
  readonly name: string
  /** Gates with the same prefix share their limits, each over a connection of its own. */
  open(redis: { url: string; keyPrefix: string }): Promise<Gate>
}

/** For those that are not told. */
export const NO_REPLY: Pass = { replied: () => {} }
