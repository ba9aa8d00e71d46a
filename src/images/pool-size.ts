import { availableParallelism } from 'node:os'

export interface PoolSize {
  /** Worker threads, which run the JavaScript around the codec. */
  readonly threads: number
  /** Pictures in the codec at once, over all threads. */
  readonly tasksInFlightMax: number
  /** What UV_THREADPOOL_SIZE should be: the codec's own threads, shared by the whole process. */
  readonly uvThreads: number
}

/** libuv's own default, when nobody has set UV_THREADPOOL_SIZE. */
export const UV_THREADS_DEFAULT = 4

/** Left to files and name look-ups: with every thread in a codec, a 100 KB write took 0.7 s instead of 50 ms. */
const UV_THREADS_FREE = 4

/**
 * The rule (docs/decisions/pictures.md): a thread per core, two pictures a core in the codec, and four more libuv threads than
 * that, because native work cannot be aborted and must never fill the pool that files and names need too.
 * This file imports nothing of ours, so that an entry file may ask it before anything else is loaded.
 */
export function poolSize(cores: number = availableParallelism()): PoolSize {
  const tasksInFlightMax = 2 * cores
  return { threads: cores, tasksInFlightMax, uvThreads: tasksInFlightMax + UV_THREADS_FREE }
}

/** The same under a libuv pool that is as it is: at least two of its threads are left free, where it has as many. */
export function poolSizeWithin(uvThreads: number, cores: number = availableParallelism()): PoolSize {
  const tasksInFlightMax = Math.max(1, Math.min(2 * cores, uvThreads - 2))
  return { threads: Math.min(cores, tasksInFlightMax), tasksInFlightMax, uvThreads }
}
