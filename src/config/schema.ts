import { z } from 'zod'
import { ROLES } from '../api/role.ts'
import { DEFAULT_VARIANTS, VARIANT_BOUNDS } from '../images/variants.ts'
import { bytes, duration } from './values.ts'

const text = z.string().min(1)
/** A list, or the same as one text with commas: what an environment variable can hold. */
const listed = (given: unknown) =>
  typeof given === 'string' ? given.split(',').map((part) => part.trim()) : given
const ratio = z.number().gt(0).max(1)
const port = z.int().min(0).max(65535)

/** PEM files and the switch for TLS; `true` is TLS with the system's certificate authorities. */
const tls = z.union([
  z.boolean(),
  z.strictObject({
    ca: text.optional().describe('Path of a PEM file with the certificate authorities to trust.'),
    cert: text.optional().describe('Path of the client certificate, PEM.'),
    key: text.optional().describe('Path of the key of the client certificate, PEM.'),
    server_name: text.optional().describe('Name to expect in the certificate, when it is not the host.'),
  }),
])

const kafka = z
  .strictObject({
    brokers: z.preprocess(listed, z.array(text).min(1)).describe('host:port of at least one broker.'),
    client_id: text.default('millrace'),
    group: text.default('millrace').describe('Daemons of one group share the work.'),
    topics: z
      .preprocess(
        listed,
        z
          .array(
            z.union([
              text,
              z.strictObject({
                name: text,
                weight: z.int().min(1).max(100).default(1),
                platform: text
                  .optional()
                  .describe('All its jobs are of this platform: then they wait here, and are never parked.'),
              }),
            ]),
          )
          .min(1),
      )
      .prefault(['millrace.jobs'])
      .transform((topics) =>
        topics.map((topic) => (typeof topic === 'string' ? { name: topic, weight: 1 } : topic)),
      )
      .describe(
        'Topics to take jobs from. One per platform is a good habit. Weights share the intake among them.',
      ),
    results_topic: text.default('millrace.results'),
    dead_topic: text.default('millrace.dead'),
    replayed_topic: text
      .default('millrace.replayed')
      .describe('Which dead letters `millrace dlq replay` has sent back.'),
    retry_topic_prefix: text.default('millrace.retry.'),
    parked_topic_prefix: text
      .default('millrace.parked.')
      .describe('With the platform’s name: where its jobs wait that would be in the way of others.'),
    create_topics: z
      .boolean()
      .default(false)
      .describe('Create missing topics at start, with `partitions` partitions and the broker’s replication.'),
    partitions: z.int().min(1).max(1000).default(12),
    tls: tls.default(false),
    sasl: z
      .strictObject({
        mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
        username: text,
        password: text,
      })
      .optional(),
    session_timeout: duration({ min: '500ms', max: '10m' }).prefault('30s'),
    heartbeat_interval: duration({ min: '100ms', max: '1m' }).prefault('3s'),
    rebalance_timeout: duration({ min: '1s', max: '10m' }).prefault('60s'),
  })
  .describe('Where jobs come from and results go. Left out: NDJSON from a file or standard input.')

const redis = z
  .strictObject({
    url: text
      .default('redis://127.0.0.1:6379')
      .describe('redis:// or rediss:// address; of a cluster, that of any node.'),
    cluster: z
      .preprocess(listed, z.array(text))
      .optional()
      .describe(
        'For a Redis Cluster: addresses of its other nodes, as many as are worth asking. `[]` will do.',
      ),
    username: text.optional().describe('ACL user.'),
    password: text.optional(),
    tls: tls.default(false),
    key_prefix: text.default('millrace').describe('Daemons that share limits share the prefix.'),
    command_timeout: duration({ min: '10ms', max: '30s' }).prefault('500ms'),
  })
  .describe('Where daemons share their limits. Left out: limits in memory, for one daemon alone.')

const clickhouse = z
  .strictObject({
    url: text.default('http://127.0.0.1:8123'),
    username: text.default('default'),
    password: z.string().default(''),
    database: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
      .default('millrace'),
    cluster: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/)
      .optional()
      .describe(
        'Name of a cluster of `remote_servers`: tables are replicated and spread over its shards. Left out: one server.',
      ),
    tls: tls.default(false),
  })
  .describe('Where rows go. Left out: the embedded engine, in the folder `data`.')

const store = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('folder'), path: text.optional().describe('Default: `<data>/store`.') }),
    z.strictObject({
      kind: z.literal('s3'),
      bucket: text,
      endpoint: text.optional().describe('For stores other than AWS.'),
      region: text.default('us-east-1'),
      access_key_id: text.optional(),
      secret_access_key: text.optional(),
      path_style: z.boolean().default(true),
    }),
  ])
  .describe('Where pictures go. Left out: a folder in `data`.')

const counts = z
  .enum(['requests', 'units'])
  .optional()
  .describe('Whether a call counts as one, or by the cost that its adapter declares.')
const bucket = z.strictObject({
  rate: z.number().gt(0).max(1e6).describe('Requests a second, sustained.'),
  burst: z.int().min(1).max(1e6).describe('Requests that may come at once.'),
  counts,
})
const window = z.strictObject({
  limit: z.int().min(1).max(1e6).describe('Requests in any window.'),
  window: duration({ min: '100ms', max: '1d' }).prefault('60s'),
  mode: z
    .enum(['causal', 'bounded'])
    .default('causal')
    .describe(
      '`causal` waits for the reply before a slot is counted down: right whatever the network does. `bounded` trusts `jitter`.',
    ),
  counts,
})
const quota = z.strictObject({
  limit: z.int().min(1).max(1e9).describe('Units in a period.'),
  period: z.enum(['hour', 'day', 'week', 'month']).default('day'),
  time_zone: text.default('UTC').describe('IANA name of where the period begins at midnight.'),
  counts,
  per: z
    .enum(['credential', 'platform'])
    .default('credential')
    .describe('Whether every credential has its own.'),
})
const DEFAULT_BUCKETS = {
  instagram: { rate: 3, burst: 200 },
  youtube: { rate: 2.5, burst: 150 },
  tiktok: { rate: 1.5, burst: 100 },
}
const DEFAULT_WINDOWS = {
  instagram: { user_profile: { limit: 30 }, user_media: { limit: 20 }, media_details: { limit: 60 } },
  youtube: { channel: { limit: 100 }, videos: { limit: 50 } },
  tiktok: { user_info: { limit: 25 } },
}

/** As published; Google and TikTok raise them on request. */
const DEFAULT_QUOTAS = {
  youtube: { limit: 10_000, time_zone: 'America/Los_Angeles' },
  tiktok: { limit: 1_000, time_zone: 'UTC', counts: 'requests' },
}

/** Merges the user's entries over the defaults, name by name, so that changing one limit keeps the others. */
function over<T extends Record<string, unknown>>(defaults: T) {
  return (given: unknown) =>
    typeof given === 'object' && given !== null && !Array.isArray(given) ? { ...defaults, ...given } : given
}

const limits = z
  .strictObject({
    share: z
      .union([z.number().gt(0).max(1), z.string().regex(/^1\/[1-9]\d{0,3}$/, 'expected a share such as 1/3')])
      .transform((share) => (typeof share === 'number' ? share : 1 / Number(share.slice(2))))
      .optional()
      .describe('This daemon’s part of every limit, e.g. 1/3, when daemons do not share Redis.'),
    global: bucket.prefault({ rate: 15, burst: 1000 }),
    platforms: z.preprocess(over(DEFAULT_BUCKETS), z.record(text, bucket)).prefault({}),
    endpoints: z
      .preprocess(
        (given) => {
          if (typeof given !== 'object' || given === null) return given
          const merged: Record<string, unknown> = { ...DEFAULT_WINDOWS }
          for (const [platform, endpoints] of Object.entries(given)) {
            const defaults = DEFAULT_WINDOWS[platform as keyof typeof DEFAULT_WINDOWS]
            merged[platform] = defaults === undefined ? endpoints : over(defaults)(endpoints)
          }
          return merged
        },
        z.record(text, z.record(text, window)),
      )
      .prefault({}),
    credentials: z
      .record(
        text,
        z
          .union([bucket, window])
          .describe(
            'What every credential of a platform may do on its own: `rate` and `burst`, or `limit` and `window`.',
          ),
      )
      .default({}),
    quotas: z
      .preprocess(
        over(DEFAULT_QUOTAS),
        z.record(
          text,
          z
            .union([z.literal(false), quota])
            .describe(
              'How much a platform allows in a period of the calendar; `false`: nothing of the kind. ' +
                'Default: youtube 10,000 units a day in Los Angeles, tiktok 1,000 requests a day in UTC.',
            ),
        ),
      )
      .prefault({}),
    default_platform: bucket
      .prefault({ rate: 1, burst: 10 })
      .describe('For platforms of your own that have no limit here.'),
    default_endpoint: window.prefault({ limit: 60 }),
    cold_start: z
      .enum(['empty', 'full'])
      .default('empty')
      .describe(
        'How to begin when nothing is known of what was sent before: `empty` waits one window, `full` trusts that nobody has called.',
      ),
    redis_away: z
      .enum(['pause', 'share'])
      .default('pause')
      .describe(
        'While Redis is away: `pause` fetches nothing; `share` goes on with limit ÷ `daemons_max`, rounded down, after a while.',
      ),
    daemons_max: z
      .int()
      .min(1)
      .max(1000)
      .default(10)
      .describe('The most daemons there will be, for `redis_away: share`. Who comes beyond it has no share.'),
    latency: duration({ min: '1ms', max: '5m' })
      .prefault('500ms')
      .describe(
        'How long the platforms take to begin a reply. A window that cannot reach 95% of its limit with it is refused at start.',
      ),
    jitter: duration({ min: '1ms', max: '30s' })
      .prefault('1s')
      .describe(
        'How late after its grant a request may reach the platform; bursts are kept smaller by that much.',
      ),
  })
  .describe('What each platform allows, of all daemons together. Every fetch needs a permit of all levels.')

const platform = z.strictObject({
  enabled: z.boolean().default(true),
  module: text
    .optional()
    .describe(
      'Path, from the folder of this file, of a module whose default export is a platform of your own.',
    ),
  origin: z.url().optional().describe('Overrides the origin of the adapter: a proxy, or a simulator.'),
  private_origin: z.boolean().default(false).describe('Allow the origin to be a private address.'),
  min_interval: z
    .record(text, duration())
    .default({})
    .describe('By job type: a creator that was scraped within this time is skipped.'),
  credentials: z
    .record(
      text,
      z.union([z.string(), z.record(text, z.string())], {
        error: 'expected a text, or the texts of a named credential',
      }),
    )
    .optional()
    .describe(
      'What the adapter asks for; secrets belong in the environment. Several: each under a name of its own, ' +
        '`first: { key: … }`. Each has its own quota, and the one with most room is used.',
    ),
})

const fetch = z.strictObject({
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

const images = z.strictObject({
  enabled: z.boolean().default(true),
  threads: z.int().min(1).max(256).optional().describe('Worker threads. Default: one per core.'),
  bytes_max: bytes({ min: 1024, max: 1_000_000_000 }).prefault('20MB'),
  pixels_max: z.int().min(1).max(1e9).default(50_000_000),
  work_timeout: duration({ max: '10m' }).prefault('10s'),
  queued_bytes_max: bytes()
    .prefault('256MB')
    .describe('Downloaded and not yet stored; above it downloads wait.'),
  private_hosts: z
    .array(text)
    .default([])
    .describe('host:port that pictures may be fetched from although the address is private.'),
  optimise_coding: z
    .boolean()
    .default(false)
    .describe('Huffman optimisation of JPEG: smaller files for more CPU.'),
  variants: z
    .array(
      z.strictObject({
        name: z.string().regex(VARIANT_BOUNDS.name),
        width: z.int().min(1).max(VARIANT_BOUNDS.sideMax),
        height: z.int().min(1).max(VARIANT_BOUNDS.sideMax),
        fit: z.enum(['inside', 'cover']).default('inside'),
        format: z.enum(['jpeg', 'webp', 'avif']).default('jpeg'),
        quality: z.int().min(1).max(100).default(85),
      }),
    )
    .min(1)
    .max(VARIANT_BOUNDS.countMax)
    .refine((variants) => new Set(variants.map(({ name }) => name)).size === variants.length, {
      error: 'expected each name once',
    })
    .default(DEFAULT_VARIANTS.map((variant) => ({ ...variant }))),
})

/** Days for which rows are kept; whole ones, because rows grow old by the day. Beyond six years the engine's moments end. */
const kept = z.union([
  z.literal('forever'),
  duration({ min: '1d', max: '2190d' }).transform((ms) => Math.ceil(ms / 86_400_000)),
])

const rows = z.strictObject({
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

const retry = z.strictObject({
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

const intake = z.strictObject({
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

const admin = z.strictObject({
  enabled: z.boolean().default(true),
  host: text.default('127.0.0.1'),
  port: port.default(9464),
  token: z
    .string()
    .min(16)
    .max(200)
    .regex(/^[\x21-\x7e]+$/)
    .optional()
    .describe(
      'Who has it may pause platforms and replay dead letters in the console. Without it the console only shows.',
    ),
  advertise: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'Address of this console as people open it, for the list that consoles of other daemons show. Default: host and port.',
    ),
})

const api = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe(
      'Serve the analytics API in the daemon itself; `millrace api` is a process of its own. The embedded engine belongs to one process, so there only this will do.',
    ),
  host: text.default('127.0.0.1').describe('Other than loopback only with `auth`.'),
  port: port.default(9480),
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
  stream_clients_max: z.int().min(1).max(100_000).default(1000),
})

const log = z.strictObject({
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  jobs: z.enum(['failures', 'all', 'none']).default('failures').describe('Which finished jobs get a line.'),
  pretty: z.boolean().optional().describe('Readable lines instead of JSON. Default: in a terminal.'),
})

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
