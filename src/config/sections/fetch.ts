import { z } from 'zod'
import { bytes, duration } from '../values.ts'

/** `fetch`: calls to the platforms, and downloads. */
export const fetch = z.strictObject({
  in_flight_max: z.int().min(1).max(65536).default(4096),
  sockets_per_host: z
    .int()
    .min(1)
    .max(4096)
    .default(30)
    .describe('For hosts we do not know: pictures, mostly.'),
  sockets_per_origin: z.int().min(1).max(16384).default(512).describe('For a platform’s own origin.'),
  keep_alive: duration().prefault('30s'),
  dns_ttl: duration().prefault('300s'),
  timeout: duration({ max: '10m' })
    .prefault('30s')
    .describe('One attempt in all, waiting for a socket included.'),
  connect_timeout: duration({ max: '10m' }).prefault('5s'),
  read_timeout: duration({ max: '10m' })
    .prefault('10s')
    .describe('Until headers, and between parts of a body.'),
  attempts: z.int().min(1).max(100).default(3),
  body_bytes_max: bytes({ min: 1024 }).prefault('10MB').describe('After decompression.'),
})
