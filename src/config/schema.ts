import { z } from 'zod'
import { admin } from './sections/admin.ts'
import { api } from './sections/api.ts'
import { clickhouse } from './sections/clickhouse.ts'
import { fetch } from './sections/fetch.ts'
import { images } from './sections/images.ts'
import { intake } from './sections/intake.ts'
import { kafka } from './sections/kafka.ts'
import { limits } from './sections/limits.ts'
import { log } from './sections/log.ts'
import { platform } from './sections/platform.ts'
import { redis } from './sections/redis.ts'
import { retry } from './sections/retry.ts'
import { rows } from './sections/rows.ts'
import { store } from './sections/store.ts'
import { duration, text } from './values.ts'

export const configSchema = z
  .strictObject({
    data: text
      .default('./millrace-data')
      .describe('Folder of everything embedded: database, store, cursors, files.'),
    drain_deadline: duration({ max: '10m' }).prefault('30s').describe('How long SIGTERM may take.'),
    kafka: kafka.optional(),
    redis: redis.optional(),
    clickhouse: clickhouse.optional(),
    store: store.optional(),
    limits: limits.prefault({}),
    platforms: z.record(z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), platform).default({}),
    fetch: fetch.prefault({}),
    images: images.prefault({}),
    rows: rows.prefault({}),
    retry: retry.prefault({}),
    intake: intake.prefault({}),
    admin: admin.prefault({}),
    api: api.prefault({}),
    log: log.prefault({}),
  })
  .meta({ id: 'MillraceConfig', title: 'Configuration of millrace' })

/** The whole configuration, every default filled in. Durations are milliseconds, sizes bytes. */
export type Config = z.output<typeof configSchema>
/** What a user may write. */
export type ConfigInput = z.input<typeof configSchema>
