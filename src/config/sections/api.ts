import { z } from 'zod'
import { ROLES } from '../../api/role.ts'
import { bytes, duration, listed, port, text } from '../values.ts'

/** `api`: the analytics API. */
export const api = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe(
      'Serve the analytics API in the daemon itself; `millrace api` is a process of its own. The embedded engine belongs to one process, so there only this will do.',
    ),
  host: text.default('127.0.0.1').describe('Other than loopback only with `auth`.'),
  port: port.default(9480),
  metrics_port: port
    .default(9481)
    .describe(
      'Of `millrace api`: `/metrics` for Prometheus, on `admin.host`, unless `admin.enabled` is false. In a daemon they stand on the admin port.',
    ),
  auth: z
    .strictObject({
      jwt: z
        .strictObject({
          secret: z.string().min(32).optional().describe('For HS256, 32 characters at least.'),
          jwks_url: z
            .url({ protocol: /^https?$/ })
            .optional()
            .describe('In place of `secret`: where the public keys for RS256, ES256 or EdDSA are.'),
          issuer: text.describe('What `iss` must be.'),
          audience: text.describe('What `aud` must hold.'),
          role_claim: text.default('role').describe('The claim that says viewer, operator or admin.'),
          clock_tolerance: duration({ min: '1ms', max: '5m' }).prefault('5s'),
        })
        .optional(),
      keys: z
        .record(
          z.string().regex(/^[\w.-]{1,64}$/),
          z.strictObject({
            sha256: z
              .string()
              .regex(/^[0-9a-f]{64}$/)
              .describe('SHA-256 of the key, in hex: the key itself is nowhere.'),
            role: z.enum(ROLES),
          }),
        )
        .default({})
        .describe('API keys by name, sent as `X-API-Key`.'),
    })
    .prefault({})
    .describe('Left out: everybody who reaches the port may do everything, so it has to be on loopback.'),
  cursor_secret: z
    .string()
    .min(32)
    .optional()
    .describe(
      'Signs cursors. Default: `auth.jwt.secret`, else anew at each start. Processes behind one address share it.',
    ),
  cors_origins: z
    .preprocess(listed, z.array(z.url({ protocol: /^https?$/ })))
    .default([])
    .describe('Origins whose pages may read; none by default.'),
  cache: z
    .strictObject({
      ttl: duration({ min: '1s', max: '1h' }).prefault('5m'),
      refresh: duration({ min: '10ms', max: '10m' })
        .prefault('10s')
        .describe('An answer over many creators is made anew this often at most, while scrapes come in.'),
      bytes_max: bytes({ min: 1024 }).prefault('64MB').describe('In memory, beside Redis.'),
    })
    .prefault({}),
  rate: z
    .strictObject({
      requests: z.int().min(1).max(1e6).default(600).describe('Of one client on one route in a window.'),
      jobs: z.int().min(1).max(1e7).default(10_000).describe('That one client asks for in a window.'),
      window: duration({ min: '1s', max: '1h' }).prefault('60s'),
    })
    .prefault({}),
  queries_max: z.int().min(1).max(1000).default(4).describe('Queries of one client at a time.'),
  query_timeout: duration({ min: '1s', max: '10m' }).prefault('30s'),
  export_timeout: duration({ min: '1s', max: '1d' }).prefault('1h'),
  export_stall: duration({ min: '1s', max: '1h' })
    .prefault('60s')
    .describe('An export whose client has read nothing for so long is broken off.'),
  stream_clients_max: z.int().min(1).max(100_000).default(1000),
})
