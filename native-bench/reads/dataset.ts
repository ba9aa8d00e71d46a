import { type Engine, execute, sqlTime } from '../../src/timeseries/engine.ts'

/** A fleet that is looked at once a night: each night every creator leaves a row for each metric. */
export interface Dataset {
  readonly creators: number
  readonly metrics: readonly string[]
  readonly nights: number
}

const CREATORS = 100_000
const METRICS = ['followers', 'following', 'posts', 'avg_likes', 'engagement_rate'] as const
export const DAY_MS = 86_400_000
/** Midnight of today, UTC: the last night. */
export const TODAY_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS
/** Nights of one insert: 2.5 million rows, so that a month has some parts to merge. */
const NIGHTS_AT_ONCE = 5

export function datasetOf(rows: number): Dataset {
  const nights = Math.max(10, Math.round(rows / CREATORS / METRICS.length))
  return { creators: Math.round(rows / nights / METRICS.length), metrics: METRICS, nights }
}

/** Ids as the three platforms have them: ten digits, `UC` and 22 letters, a name. `n` is the creator's number, of any type. */
const PLATFORM = `['instagram', 'youtube', 'tiktok'][n % 3 + 1]`
const CREATOR_ID = `multiIf(
  n % 3 = 0, toString(1000000000 + cityHash64(n) % 9000000000),
  n % 3 = 1, concat('UC', substring(base64URLEncode(unhex(hex(sipHash128(toUInt32(n))))), 1, 22)),
  concat(['the', 'its', 'real', 'by', 'dr'][n % 5 + 1], '.', lower(hex(toUInt32(cityHash64(n))))))`

/** The platform and the id of one creator of the dataset, as SELECT … FROM (SELECT <n> AS n). */
export const CREATOR = `${PLATFORM} AS platform, ${CREATOR_ID} AS creator_id`

/**
 * Numbers grow by up to half a per cent a night from what the creator began with, some shrink. A producer publishes the night's jobs
 * at two o'clock, twenty a millisecond and in the same order, with some noise; the platforms answer over six hours.
 */
export async function fillPoints(engine: Engine, { creators, metrics, nights }: Dataset): Promise<void> {
  const names = metrics.map((metric) => `'${metric}'`).join(', ')
  const rowsANight = creators * metrics.length
  for (let from = nights; from > 0; from -= NIGHTS_AT_ONCE) {
    const atOnce = Math.min(NIGHTS_AT_ONCE, from)
    const first = sqlTime(TODAY_MS - (from - 1) * DAY_MS)
    await execute(
      engine,
      `INSERT INTO points (ts, platform, metric, creator_id, value, job_id, observed_at)
      WITH
        intDiv(number, ${rowsANight}) AS night,
        intDiv(number % ${rowsANight}, ${metrics.length}) AS n,
        number % ${metrics.length} AS m,
        cityHash64(n, m) AS seed,
        toDateTime64('${first}', 3, 'UTC') + toIntervalDay(night)
          + toIntervalMillisecond(7200000 + intDiv(n, 20) + cityHash64(night) % 2000 + cityHash64(n, night) % 100) AS at,
        exp2(4 + seed % 1000 / 60) * (1 + (${nights - from} + night) * (seed % 1103 - 103) / 200000) AS number_then
      SELECT at, ${PLATFORM}, [${names}][m + 1], ${CREATOR_ID},
        m = 4 ? round(number_then % 10, 4) : round(number_then),
        concat('millrace.jobs-', toString(n % 6), '-', toString(night * 20000 + intDiv(n, 6) + ${(nights - from) * 20_000})),
        toDateTime(at, 'UTC') + intDiv(n * 21600, ${creators}) + cityHash64(n, night, 'o') % 120
      FROM numbers(${rowsANight * atOnce})
      SETTINGS max_execution_time = 600, max_insert_threads = 1`,
    )
  }
}

/** Newest facts of every creator, and the jobs of the last seven nights. */
export async function fillFacts(engine: Engine, { creators }: Dataset): Promise<void> {
  await execute(
    engine,
    `INSERT INTO creators (platform, creator_id, name, handle, biography, verified, flags, followers, ts, observed_at, job_id)
    SELECT ${PLATFORM}, ${CREATOR_ID}, concat('Name of ', toString(n)), concat('handle', toString(n)),
      concat('Some words about what number ', toString(n), ' does, a hundred letters or so, as most of them have it there.'),
      n % 17 = 0, if(n % 29 = 0, ['suspicious_drop'], []), exp2(4 + n % 1000 / 60),
      now64(3) - toIntervalSecond(n % 80000), now() - n % 80000, concat('millrace.jobs-0-', toString(n))
    FROM (SELECT number AS n FROM numbers(${creators}))`,
  )
  await execute(
    engine,
    `INSERT INTO jobs (ts, platform, creator_id, job_id, job_type, status, reason, attempts, duration_ms, observed_at)
    SELECT now64(3) - toIntervalDay(number % 7) - toIntervalMillisecond(intDiv(n, 20)) AS at, ${PLATFORM}, ${CREATOR_ID},
      concat('millrace.jobs-', toString(n % 6), '-', toString(number)), 'full_profile_scrape',
      if(n % 50 = 0, 'dead', 'done'), if(n % 50 = 0, 'not_found', ''), 1, 900 + n % 300, at + n % 20000
    FROM (SELECT number, intDiv(number, 7) AS n FROM numbers(${creators * 7}))`,
  )
}
