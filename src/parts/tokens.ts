import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import { RedisTokens } from '../tokens/redis-tokens.ts'
import { redisOptionsOf } from './redis.ts'

/** Where daemons share the tokens they fetch; undefined for a daemon on its own. No I/O. */
export function openTokens({ redis }: Config, log: Log): RedisTokens | undefined {
  return redis === undefined ? undefined : new RedisTokens(redisOptionsOf(redis), log)
}
