/** Of work that has not come in time. */
export class LateError extends Error {}

/** The work's result, or a rejection with what `late` makes after `timeoutMs`. The work itself goes on; what comes of it is ignored. */
export async function within<T>(work: T | Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(late()), timeoutMs)
  try {
    // The race listens to both for ever: a later rejection of the work is nobody's.
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
