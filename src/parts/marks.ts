import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import type { Marks } from '../job/mark.ts'
import { FileMarks } from '../marks/file-marks.ts'
import { RedisMarks } from '../marks/redis-marks.ts'
import type { Log } from '../telemetry/log.ts'
import { redisOptionsOf } from './redis.ts'

/** What is remembered of jobs: in Redis, where all daemons see it, or in a folder. No I/O. */
export function openMarks(config: Config, log: Log): Marks {
  const { redis, intake, limits, data } = config
  const endedKeptMs = intake.ended_kept
  if (redis === undefined) return new FileMarks({ folder: join(data, 'marks'), endedKeptMs }, log)
  // Who goes on fetching without Redis has to go on ending jobs without it; who pauses loses nothing by waiting.
  const away = limits.redis_away === 'share' ? 'do_without' : 'wait'
  return new RedisMarks({ redis: redisOptionsOf(redis), endedKeptMs, away }, log)
}
