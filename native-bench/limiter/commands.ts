import type { Redis } from 'ioredis'

/** What scripts have cost so far. */
export interface ScriptCost {
  readonly calls: number
  /** Inside Redis, the commands that a script runs included. */
  readonly us: number
}

/**
 * EVALSHA and EVAL as `INFO commandstats` counts them, of all clients together. Commands that scripts run have lines of their own
 * there: they are no calls.
 */
export async function scriptCost(redis: Redis): Promise<ScriptCost> {
  const info = await redis.info('commandstats')
  let calls = 0
  let us = 0
  for (const [, count, usec] of info.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+),usec=(\d+)/gm)) {
    calls += Number(count)
    us += Number(usec)
  }
  return { calls, us }
}

/** `redis_version` as the server says it. */
export async function versionOf(redis: Redis): Promise<string> {
  return /^redis_version:(\S+)/m.exec(await redis.info('server'))?.[1] ?? 'unknown'
}

/** Removes everything whose key begins with the prefix, in braces or not. */
export async function clear(redis: Redis, keyPrefix: string): Promise<void> {
  for (const pattern of [`${keyPrefix}*`, `{${keyPrefix}}*`]) {
    for await (const keys of redis.scanStream({ match: pattern, count: 1_000 })) {
      // The stream's own shape: names, page by page.
      const names = keys as string[]
      if (names.length > 0) await redis.unlink(...names)
    }
  }
}
