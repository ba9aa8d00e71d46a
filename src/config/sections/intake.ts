import { z } from 'zod'
import { bytes, duration, text } from '../values.ts'

/** `intake`: how many jobs are in memory, and where they come from without Kafka. */
export const intake = z.strictObject({
  file: text.default('-').describe('NDJSON of jobs when there is no `kafka`; `-` is standard input.'),
  jobs_max: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('Jobs in memory; above it partitions are paused.'),
  bytes_max: bytes({ min: 1024 }).prefault('64MB'),
  span_max: z
    .int()
    .min(1)
    .max(10_000_000)
    .default(50_000)
    .describe('Records of a partition between committed and taken.'),
  parked_max: z
    .int()
    .min(0)
    .max(100_000_000)
    .default(100_000)
    .describe(
      'Jobs of one platform that may be parked; more of them wait where they are, and hold up others.',
    ),
  ended_kept: duration({ min: '1s', max: '7d' })
    .prefault('2h')
    .describe('How long it is known that a job has ended, and with which result.'),
})
