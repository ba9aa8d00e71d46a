/** Of work that has not come in time. */
export class LateError extends Error {}

/** The work's result, or a LateError when it has not come in time: `<what> did not come within <n> ms`. The work itself goes on. */
export async function within<T>(msMax: number, what: string, work: T | Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new LateError(`${what} did not come within ${msMax} ms`)), msMax)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
