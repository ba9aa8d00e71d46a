import type { Engine } from '../../timeseries/engine.ts'
import { type AskOptions, ask, BY_PARTITION } from './ask.ts'
import { momentOf } from './moment.ts'
import { trending } from './trending.ts'

const DAYS = 30
const MOVERS = 5

/** The overview: totals, daily lines, movers, coverage, freshness, and how jobs ended. All of it asked at once. */
export async function dashboard(engine: Engine, options: AskOptions) {
  const movers = { ...options, window: '7d', by: 'absolute', followersMin: 0, limit: MOVERS } as const
  const [totals, daily, rising, falling, jobs] = await Promise.all([
    totalsOf(engine, options),
    dailyOf(engine, options),
    trending(engine, movers),
    trending(engine, { ...movers, falling: true }),
    jobsOf(engine, options),
  ])
  return { at: new Date().toISOString(), platforms: totals, daily, rising, falling, jobs_24h: jobs }
}

interface Totals {
  readonly platform: string
  readonly creators: number | string
  readonly gone: number | string
  readonly verified: number | string
  readonly flagged: number | string
  readonly followers: number
  readonly seen_24h: number | string
  readonly seen_7d: number | string
  readonly median_age_s: number | string
  readonly p95_age_s: number | string
  readonly newest_ms: number | string
}

async function totalsOf(engine: Engine, options: AskOptions) {
  const rows = await ask<Totals>(
    engine,
    {
      // Every column by its table: an alias of the result that shadows one would be taken for it.
      sql: `SELECT c.platform AS platform, countIf(NOT c.gone) AS creators, countIf(c.gone) AS gone,
  countIf(c.verified AND NOT c.gone) AS verified, countIf(notEmpty(c.flags) AND NOT c.gone) AS flagged,
  sumIf(ifNull(c.followers, 0), NOT c.gone) AS followers,
  countIf(NOT c.gone AND c.observed_at >= now('UTC') - INTERVAL 1 DAY) AS seen_24h,
  countIf(NOT c.gone AND c.observed_at >= now('UTC') - INTERVAL 7 DAY) AS seen_7d,
  quantiles(0.5, 0.95)(greatest(0, toInt64(now('UTC')) - toInt64(c.observed_at))) AS ages,
  toUInt64(ages[1]) AS median_age_s, toUInt64(ages[2]) AS p95_age_s, max(toUnixTimestamp64Milli(c.ts)) AS newest_ms
FROM creators AS c FINAL GROUP BY platform ORDER BY platform`,
    },
    options,
  )
  return rows.map((row) => {
    const creators = Number(row.creators)
    const share = (seen: number | string) => (creators === 0 ? 0 : Number(seen) / creators)
    return {
      platform: row.platform,
      creators,
      gone: Number(row.gone),
      verified: Number(row.verified),
      flagged: Number(row.flagged),
      followers: row.followers,
      coverage: { seen_24h: share(row.seen_24h), seen_7d: share(row.seen_7d) },
      freshness: {
        newest: momentOf(row.newest_ms),
        median_age_s: Number(row.median_age_s),
        p95_age_s: Number(row.p95_age_s),
      },
    }
  })
}

async function dailyOf(engine: Engine, options: AskOptions) {
  const rows = await ask<{ platform: string; date: string; creators: number | string; total: number }>(
    engine,
    {
      sql: `SELECT platform, toString(day) AS date, creators, total FROM platform_daily
WHERE metric = 'followers' AND day >= toDate(now('UTC')) - ${DAYS} ORDER BY platform, day`,
    },
    options,
  )
  return rows.map(({ platform, date, creators, total }) => ({
    platform,
    day: date,
    creators: Number(creators),
    followers: total,
  }))
}

async function jobsOf(engine: Engine, options: AskOptions) {
  const rows = await ask<{ platform: string; status: string; reason: string; jobs: number | string }>(
    engine,
    {
      sql: `SELECT platform, status, reason, count() AS jobs FROM jobs FINAL
WHERE ts >= now64(3, 'UTC') - INTERVAL 1 DAY GROUP BY platform, status, reason ORDER BY jobs DESC, platform, status, reason LIMIT 100`,
    },
    options,
    BY_PARTITION,
  )
  return rows.map((row) => ({ ...row, jobs: Number(row.jobs) }))
}
