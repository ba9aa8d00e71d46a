/** One way of getting replies, in a process of its own. To add one: another function that returns this, in process.ts. */
export interface Contestant {
  /** Of its admin port, when it has one. */
  readonly url?: string | undefined
  /** Keeps `concurrency` requests under way for `durationMs`, then waits for the last; resolves with how many there were. */
  round(options: Round): Promise<number>
  stop(): Promise<void>
}

export interface Round {
  readonly durationMs: number
  readonly concurrency: number
}

/** A round of as many callers as there may be requests under way, each sending one after the other. */
export function loop(call: () => Promise<void>): Contestant['round'] {
  return async ({ durationMs, concurrency }) => {
    const endMs = performance.now() + durationMs
    let requests = 0
    const caller = async () => {
      while (performance.now() < endMs) {
        await call()
        requests += 1
      }
    }
    await Promise.all(Array.from({ length: concurrency }, caller))
    return requests
  }
}
