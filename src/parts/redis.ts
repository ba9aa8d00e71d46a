import type { Config } from '../config/schema.ts'
import type { RedisLinkOptions } from '../redis/link.ts'
import { tlsOf } from './kafka.ts'

const START_MS_MIN = 5_000

/** How Redis is reached, by its section. Throws MillraceError of kind `usage` for a TLS file that cannot be read. */
export function redisOptionsOf(redis: NonNullable<Config['redis']>): RedisLinkOptions {
  return {
    url: redis.url,
    cluster: redis.cluster,
    keyPrefix: redis.key_prefix,
    commandTimeoutMs: redis.command_timeout,
    // Who gives a command long expects a slow Redis, at the start too.
    startTimeoutMs: Math.max(START_MS_MIN, 3 * redis.command_timeout),
    username: redis.username,
    password: redis.password,
    ...(redis.tls === false ? {} : { tls: tlsOf(redis.tls, 'redis.tls') }),
  }
}
