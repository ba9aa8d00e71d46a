/** The work's result, or a rejection when it has not come in time: `<what> did not come within <n> ms`. The work itself goes on. */
export async function within<T>(msMax: number, what: string, work: T | Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${what} did not come within ${msMax} ms`)), msMax)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
