import { join } from 'node:path'
import type { Status } from '../../admin/status.ts'
import type { OracleReport } from '../../simulator/oracle.ts'
import type { Engine } from '../../timeseries/engine.ts'
import { select } from '../../timeseries/engine.ts'
import { fastestGrowing, rowCounts } from '../../timeseries/queries.ts'
import { grouped, percent, table } from '../table.ts'

export interface SummaryInput {
  readonly status: Status
  readonly oracle: OracleReport
  readonly engine: Engine
  readonly folder: string
  readonly store: string
  readonly elapsedS: number
  readonly fromMs: number
  readonly toMs: number
}

/** Everything that the demo's run has brought about, as text; each figure is read back from where it ended up. */
export async function summary(input: SummaryInput): Promise<string> {
  return [
    heading('Jobs by outcome, as the table `jobs` has them'),
    await outcomes(input),
    heading('The limits, as the upstream saw them'),
    limits(input.oracle),
    heading('Pictures'),
    await pictures(input),
    heading(
      `Fastest growing creators of the last ${Math.round((input.toMs - input.fromMs) / 1000)} seconds (the simulator's time runs faster)`,
    ),
    await growth(input),
    heading('Rows'),
    await rows(input),
    heading('Where to look next'),
    next(input.folder),
  ].join('\n')
}

function heading(text: string): string {
  return `\n${text}\n`
}

async function outcomes({ engine, status, elapsedS }: SummaryInput): Promise<string> {
  const found = await select<{
    platform: string
    status: string
    reason: string
    jobs: number | string
    example: string
  }>(
    engine,
    `SELECT platform, status, reason, count() AS jobs, any(creator_id) AS example
     FROM jobs FINAL GROUP BY platform, status, reason ORDER BY status = 'done' DESC, jobs DESC, platform`,
  )
  const ended = status.jobs.finished.done + status.jobs.finished.skipped + status.jobs.finished.dead
  const listed = found.reduce((sum, row) => sum + Number(row.jobs), 0)
  const text = table(
    [
      { title: 'platform' },
      { title: 'status' },
      { title: 'reason' },
      { title: 'jobs', numeric: true },
      { title: 'for example' },
    ],
    found.map((row) => [row.platform, row.status, row.reason, Number(row.jobs), row.example]),
  )
  return (
    `${text}\n\n  ${grouped(ended)} ended in ${elapsedS.toFixed(1)} s; ${ended - listed} more were no jobs at all ` +
    '(malformed, or of an unknown platform): dead letters, their bytes untouched.'
  )
}

function limits(oracle: OracleReport): string {
  const text = table(
    [
      { title: 'level' },
      { title: 'calls', numeric: true },
      { title: 'of its sustained rate', numeric: true },
      { title: 'at its peak', numeric: true },
      { title: 'violations', numeric: true },
    ],
    oracle.levels
      .filter(({ arrivals }) => arrivals > 0)
      .map(({ level, arrivals, meanUtilisation, peakUtilisation, violations }) => [
        level,
        arrivals,
        percent(meanUtilisation),
        percent(peakUtilisation),
        violations,
      ]),
  )
  return `${text}\n\n  ${oracle.violations} violations in all.`
}

async function pictures({ engine, status, store }: SummaryInput): Promise<string> {
  const found = await select<{
    variant: string
    pictures: number | string
    width: number
    height: number
    bytes: number
    example: string
  }>(
    engine,
    `SELECT variant, uniqExact(key) AS pictures, max(width) AS width, max(height) AS height,
       sum(bytes) AS bytes, any(key) AS example
     FROM (SELECT DISTINCT variant, key, width, height, bytes FROM pictures FINAL) GROUP BY variant ORDER BY bytes DESC`,
  )
  const text = table(
    [
      { title: 'variant' },
      { title: 'files', numeric: true },
      { title: 'size', numeric: true },
      { title: 'KB each', numeric: true },
      { title: 'for example' },
    ],
    found.map((row) => [
      row.variant,
      Number(row.pictures),
      `${row.width}×${row.height}`,
      Math.round(Number(row.bytes) / Number(row.pictures) / 1000),
      join(store, row.example),
    ]),
  )
  const { stored, known, rejected } = status.pictures
  return `${text}\n\n  ${stored} resized and stored, ${known} known already (content-addressed), ${rejected} rejected.`
}

async function growth({ engine, fromMs, toMs }: SummaryInput): Promise<string> {
  const found = await fastestGrowing(engine, {
    metric: 'followers',
    fromMs,
    toMs,
    by: 'relative',
    valueMin: 1000,
    limit: 8,
  })
  return table(
    [
      { title: 'platform' },
      { title: 'creator' },
      { title: 'name' },
      { title: 'followers', numeric: true },
      { title: 'gained', numeric: true },
      { title: 'growth', numeric: true },
    ],
    found.map((one) => [
      one.platform,
      one.handle === '' ? one.creatorId : one.handle,
      one.name,
      one.last,
      one.absolute,
      one.relative === null ? '' : `${(one.relative * 100).toFixed(3)}%`,
    ]),
  )
}

async function rows({ engine }: SummaryInput): Promise<string> {
  const counts = await rowCounts(engine)
  return `  ${Object.entries(counts)
    .map(([name, count]) => `${name} ${grouped(count)}`)
    .join('   ')}`
}

function next(folder: string): string {
  const sql = 'SELECT metric, count(), max(value) FROM points FINAL GROUP BY metric'
  return [
    `  ${folder}/millrace.results.ndjson   one line for each result`,
    `  ${folder}/millrace.dead.ndjson      the dead letters, with their reasons in the headers`,
    `  ${folder}/store/pictures/           open a few`,
    `  npm run millrace -- query --data '${folder}' "${sql}"`,
    '  README.md                           the same with Kafka, Redis and ClickHouse',
  ].join('\n')
}
