import { z } from 'zod'
import { duration, ratio } from '../values.ts'

/** `retry`: what follows from failed attempts. */
export const retry = z.strictObject({
  delays: z
    .array(duration({ min: '1s', max: '7d' }))
    .min(1)
    .max(8)
    .prefault(['30s', '5m', '1h'])
    .transform((delays) => [...delays].sort((a, b) => a - b))
    .describe('One retry topic for each.'),
  base: duration().prefault('1s'),
  ceiling: duration().prefault('60s'),
  in_place_max: duration().prefault('5s').describe('Longer waits go through a retry topic.'),
  throttled_max: z
    .int()
    .min(1)
    .max(1000)
    .default(10)
    .describe('Throttled attempts that are not held against a job.'),
  dead_share: ratio
    .default(0.5)
    .describe('More than this share of dead jobs, not by their content, pauses the platform.'),
  dead_sample: z.int().min(1).max(100_000).default(100),
})
