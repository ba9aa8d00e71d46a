import type { ConfigInput } from '../../src/config/schema.ts'
import { type BucketLimit, DEFAULT_CREDENTIALS, PLAYED } from '../../src/simulator/options.ts'

/** The same for the simulator, which enforces them, and the daemons, which have to keep them. */
export interface RealLimits {
  readonly global: BucketLimit
  /** Of each platform. */
  readonly platform: BucketLimit
  /** Of each endpoint, in any period of `windowMs`. */
  readonly windowLimit: number
  readonly windowMs: number
}

/** Those with a limit of their own by default; all others follow the one for endpoints that are not named. */
const ENDPOINTS = [
  'instagram/user_profile',
  'instagram/user_media',
  'youtube/channel',
  'youtube/videos',
  'tiktok/user_info',
]

/** `millrace simulate` with those limits, on any free port. */
export function simulatorArgs(
  limits: RealLimits,
  options: { seed: number; creators: number; errorRate: number; timeScale?: number },
): string[] {
  const window = { limit: limits.windowLimit, windowMs: limits.windowMs }
  const enforced = {
    global: limits.global,
    platforms: Object.fromEntries(PLAYED.map((platform) => [platform, limits.platform])),
    endpoints: Object.fromEntries(ENDPOINTS.map((endpoint) => [endpoint, window])),
    defaultEndpoint: window,
  }
  const { seed, creators, errorRate, timeScale = 1 } = options
  return [
    ...['simulate', '--port', '0', '--seed', String(seed), '--creators', String(creators)],
    ...['--error-rate', String(errorRate), '--time-scale', String(timeScale)],
    ...['--limits', JSON.stringify(enforced)],
  ]
}

export interface RealAddresses {
  /** Prefix of topics, keys in Redis, database and bucket. */
  readonly run: string
  readonly broker: string
  readonly redis: string
  readonly clickhouse: string
  /** With its keys, as test/services/s3.ts says it. */
  readonly s3: string
  /** The simulator. */
  readonly upstream: string
}

/** A daemon's configuration with real parts throughout, as JSON (which is YAML); `over` replaces whole sections, and the sizes of pictures. */
export function realConfiguration(
  addresses: RealAddresses,
  limits: RealLimits,
  coldStart: 'empty' | 'full',
  over: Partial<ConfigInput> & { variants?: NonNullable<ConfigInput['images']>['variants'] } = {},
): string {
  const { variants, ...sections } = over
  const { run, broker, redis, clickhouse, upstream } = addresses
  const s3 = new URL(addresses.s3)
  const window = { limit: limits.windowLimit, window: `${limits.windowMs}ms` }
  const configuration: ConfigInput = {
    data: './data',
    kafka: realKafka(run, broker),
    redis: { url: redis, key_prefix: run },
    clickhouse: { url: clickhouse, database: run },
    store: {
      kind: 's3',
      bucket: run,
      endpoint: s3.origin,
      access_key_id: s3.username,
      secret_access_key: s3.password,
    },
    limits: { ...realLimits(limits, window), cold_start: coldStart },
    // Of thousands of jobs none may be given up by chance: with one reply in a hundred an error, three attempts lose one in a million.
    fetch: { timeout: '5s', read_timeout: '5s', attempts: 8 },
    retry: { delays: ['1s', '5s'], base: '200ms' },
    platforms: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        {
          origin: `${upstream}/${platform}`,
          private_origin: true,
          credentials: { ...DEFAULT_CREDENTIALS[platform] },
        },
      ]),
    ),
    images: { private_hosts: [new URL(upstream).host], ...(variants === undefined ? {} : { variants }) },
    admin: { port: 0 },
    log: { jobs: 'none' },
    ...sections,
  }
  return JSON.stringify(configuration)
}

/** Partitions of the jobs and results topics. */
export const PARTITIONS = 6

export function realKafka(run: string, broker: string): NonNullable<ConfigInput['kafka']> {
  return {
    brokers: [broker],
    group: run,
    topics: [`${run}.jobs`],
    results_topic: `${run}.results`,
    dead_topic: `${run}.dead`,
    replayed_topic: `${run}.replayed`,
    retry_topic_prefix: `${run}.retry.`,
    parked_topic_prefix: `${run}.parked.`,
    create_topics: true,
    partitions: PARTITIONS,
    session_timeout: '6s',
    heartbeat_interval: '500ms',
    rebalance_timeout: '10s',
  }
}

function realLimits(
  limits: RealLimits,
  window: { limit: number; window: string },
): NonNullable<ConfigInput['limits']> {
  return {
    global: limits.global,
    platforms: Object.fromEntries(PLAYED.map((platform) => [platform, limits.platform])),
    endpoints: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        Object.fromEntries(
          ENDPOINTS.filter((one) => one.startsWith(`${platform}/`)).map((one) => [
            one.split('/')[1]!,
            window,
          ]),
        ),
      ]),
    ),
    default_endpoint: window,
    jitter: '1s',
    latency: '100ms',
    quotas: { tiktok: false, youtube: false },
  }
}
