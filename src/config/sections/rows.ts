import { z } from 'zod'
import { bytes, duration } from '../values.ts'

/** Days for which rows are kept; whole ones, because rows grow old by the day. Beyond six years the engine's moments end. */
const kept = z.union([
  z.literal('forever'),
  duration({ min: '1d', max: '2190d' }).transform((ms) => Math.ceil(ms / 86_400_000)),
])

/** `rows`: batches, and how long rows are kept. */
export const rows = z.strictObject({
  batch_rows: z.int().min(1).max(100_000).default(10_000),
  batch_bytes: bytes({ min: 1024 }).prefault('8MB'),
  batch_age: duration({ max: '1m' }).prefault('1s'),
  buffered_rows_max: z.int().min(1000).max(10_000_000).default(200_000),
  retention: z
    .strictObject({
      points: kept.optional().describe('`points` and `media_points`; the tables are made with 400d.'),
      daily: kept.optional().describe('`points_daily`; made with forever.'),
      jobs: kept.optional().describe('`jobs`; made with 30d.'),
    })
    .default({})
    .describe(
      'How long rows are kept after their `ts`: a number of days such as 90d, or `forever`. Set at start and by ' +
        '`millrace migrate`; what is left out stays as it is. A shorter time deletes what is older.',
    ),
})
