import { type Engine, select } from '../../src/timeseries/engine.ts'
import { fastestGrowing, history, platformDaily } from '../../src/timeseries/queries.ts'
import type { Read } from './contest.ts'
import { CREATOR, DAY_MS, type Dataset, TODAY_MS } from './dataset.ts'

const METRIC = 'followers'
const PLATFORM = 'instagram'

const TOTALS_OF_POINTS = `SELECT day, count() AS creators, sum(newest) AS total
FROM (
  SELECT toDate(ts) AS day, creator_id, argMax(value, ts) AS newest FROM points FINAL
  WHERE platform = '${PLATFORM}' AND metric = '${METRIC}' GROUP BY day, creator_id
)
GROUP BY day ORDER BY day`

const TOTALS_OF_DAYS = `SELECT day, count() AS creators, sum(value) AS total FROM points_daily FINAL
WHERE platform = '${PLATFORM}' AND metric = '${METRIC}' GROUP BY day ORDER BY day`

interface Who {
  readonly platform: string
  readonly creatorId: string
}

/** Creators from all over the key. */
async function someCreators(engine: Engine, { creators }: Dataset): Promise<Who[]> {
  const rows = await select<{ platform: string; creator_id: string }>(
    engine,
    `SELECT ${CREATOR} FROM (SELECT cityHash64(number) % ${creators} AS n FROM numbers(50))`,
  )
  return rows.map((row) => ({ platform: row.platform, creatorId: row.creator_id }))
}

/** The three reads of the target: from every number, from the roll-up of days, from what the engine refreshes. */
export async function threeReads(engine: Engine, dataset: Dataset): Promise<Read[]> {
  const whom = await someCreators(engine, dataset)
  let turn = 0
  const next = () => whom[turn++ % whom.length]!
  const month = { metric: METRIC, fromMs: TODAY_MS - 29 * DAY_MS, toMs: TODAY_MS + DAY_MS }
  const week = { metric: METRIC, fromMs: TODAY_MS - 7 * DAY_MS, toMs: TODAY_MS + DAY_MS, limit: 100 }
  const always = { platform: PLATFORM, metric: METRIC, fromMs: 0, toMs: TODAY_MS + DAY_MS }
  const sized = (rows: Promise<readonly unknown[]>) => rows.then(({ length }) => length)
  const creator = 'one creator over 30 days'
  const growth = 'top 100 growth in 7 days'
  const totals = `a platform's totals of ${dataset.nights} days`
  return [
    { question: creator, from: 'points', run: () => sized(history(engine, { ...month, ...next() })) },
    {
      question: creator,
      from: 'points_daily',
      run() {
        const { platform, creatorId } = next()
        return sized(
          select(
            engine,
            `SELECT day, value FROM points_daily FINAL WHERE platform = {platform:String} AND metric = '${METRIC}'
            AND creator_id = {id:String} AND day > today() - 30 ORDER BY day`,
            { platform, id: creatorId },
          ),
        )
      },
    },
    ...(['points', 'points_daily', 'growth_7d'] as const).map((source): Read => {
      return {
        question: growth,
        from: source,
        run: () => sized(fastestGrowing(engine, { ...week, source, by: 'absolute' })),
      }
    }),
    { question: totals, from: 'points', run: () => sized(select(engine, TOTALS_OF_POINTS)) },
    { question: totals, from: 'points_daily', run: () => sized(select(engine, TOTALS_OF_DAYS)) },
    { question: totals, from: 'platform_daily', run: () => sized(platformDaily(engine, always)) },
  ]
}

/** What a dashboard of one platform asks, all at once, as browsers do. */
export async function dashboard(engine: Engine, dataset: Dataset): Promise<Read> {
  const whom = await someCreators(engine, dataset)
  let turn = 0
  const week = { metric: METRIC, fromMs: TODAY_MS - 7 * DAY_MS, toMs: TODAY_MS + DAY_MS, limit: 100 }
  const quarter = { fromMs: TODAY_MS - 90 * DAY_MS, toMs: TODAY_MS + DAY_MS }
  return {
    question: 'the dashboard: 12 queries at once',
    from: 'as readers do',
    async run() {
      const one = whom[turn++ % whom.length]!
      const answers = await Promise.all([
        ...['followers', 'posts', 'avg_likes'].map((metric) =>
          platformDaily(engine, { platform: PLATFORM, metric, ...quarter }),
        ),
        fastestGrowing(engine, { ...week, source: 'growth_7d', by: 'absolute' }),
        fastestGrowing(engine, { ...week, source: 'growth_7d', by: 'relative', valueMin: 1_000 }),
        fastestGrowing(engine, { ...week, source: 'growth_7d', by: 'absolute', platform: PLATFORM }),
        ...['followers', 'posts', 'avg_likes', 'engagement_rate'].map((metric) =>
          history(engine, { ...one, ...quarter, metric }),
        ),
        select(
          engine,
          `SELECT platform, count() AS creators, countIf(verified) AS verified, countIf(notEmpty(flags)) AS flagged,
            max(ts) AS newest FROM creators FINAL GROUP BY platform`,
        ),
        select(
          engine,
          `SELECT platform, status, reason, count() AS jobs FROM jobs FINAL
          WHERE ts >= now64(3, 'UTC') - INTERVAL 1 DAY GROUP BY platform, status, reason`,
        ),
      ])
      return answers.reduce((sum, rows) => sum + rows.length, 0)
    },
  }
}
