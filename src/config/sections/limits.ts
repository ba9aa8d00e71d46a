import { z } from 'zod'
import { duration, text } from '../values.ts'

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

/** `limits`: what the platforms allow, and what happens while nobody knows how much is left. */
export const limits = z
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
