import { setTimeout as sleep } from 'node:timers/promises'

export interface PollOptions {
  readonly withinMs: number
  readonly everyMs?: number
  readonly signal?: AbortSignal | undefined
  /** What is waited for, for the message of the failure. */
  readonly what: string
}

/**
 * Asks again and again until `ask` resolves with something other than undefined; an error counts as "not yet". Rejects after
 * `withinMs` with the last error as its cause, or with the signal's reason.
 */
export async function poll<T>(
  ask: () => Promise<T | undefined> | T | undefined,
  options: PollOptions,
): Promise<T> {
  const endsAt = performance.now() + options.withinMs
  let lastError: unknown
  for (;;) {
    options.signal?.throwIfAborted()
    try {
      const answer = await ask()
      if (answer !== undefined) return answer
    } catch (error) {
      lastError = error
    }
    if (performance.now() >= endsAt) {
      const because = lastError instanceof Error ? `: ${lastError.message || lastError.name}` : ''
      throw new Error(`${options.what}: not within ${options.withinMs} ms${because}`, { cause: lastError })
    }
    await sleep(
      options.everyMs ?? 20,
      undefined,
      options.signal === undefined ? {} : { signal: options.signal },
    )
  }
}
