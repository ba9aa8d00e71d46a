import { NotedProgress } from '../api/scrapes/noted-progress.ts'
import { type Notes, RedisNotes } from '../api/scrapes/notes.ts'
import type { Config } from '../config/schema.ts'
import type { Progress } from '../job/progress.ts'
import { createClient, RedisLink, type RedisUser } from '../redis/link.ts'
import type { Log } from '../telemetry/log.ts'
import { redisOptionsOf } from './redis.ts'

const USER: RedisUser = {
  name: 'progress',
  whileAway: 'the API shows jobs as queued until they have ended',
  pipelines: true,
}

/**
 * How the daemon tells the API which jobs have begun: in Redis, with a connection that is not made before there is such a job, or
 * in `notes`, which are those of the API in this process.
 */
export function openProgress(
  { redis }: Config,
  notes: Notes,
  log: Log,
): Progress & { stop(): Promise<void> } {
  if (redis === undefined)
    return Object.assign(new NotedProgress(async () => notes), { stop: async () => {} })
  const options = redisOptionsOf(redis)
  const link = new RedisLink(createClient(options, USER), options, USER, log)
  const shared = new RedisNotes(link, options.keyPrefix)
  const progress = new NotedProgress(async () => {
    await link.start()
    return shared
  })
  return Object.assign(progress, { stop: () => link.stop() })
}
