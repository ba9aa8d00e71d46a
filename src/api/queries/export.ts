import { Readable } from 'node:stream'
import { type Engine, engineCode, sqlTime, translateEngineError } from '../../timeseries/engine.ts'
import { ApiProblem } from '../problem.ts'
import { type AskOptions, BY_PARTITION, settingsOf } from './ask.ts'
import { ExceptionWatch } from './exception-watch.ts'

export const DATASETS = ['creators', 'points', 'daily', 'media'] as const
export type Dataset = (typeof DATASETS)[number]

export const FORMATS = {
  ndjson: { engine: 'JSONEachRow', type: 'application/x-ndjson; charset=utf-8' },
  csv: { engine: 'CSVWithNames', type: 'text/csv; charset=utf-8; header=present' },
  parquet: { engine: 'Parquet', type: 'application/vnd.apache.parquet' },
} as const
export type Format = keyof typeof FORMATS

export interface ExportOptions extends AskOptions {
  readonly what: Dataset
  readonly format: Format
  readonly platform?: string | undefined
  readonly creatorId?: string | undefined
  readonly metric?: string | undefined
  /** Unix ms: [from, to), of the logical time. */
  readonly fromMs?: number | undefined
  readonly toMs?: number | undefined
}

interface Source {
  readonly columns: string
  readonly table: string
  /** The column of the logical time, and its type. */
  readonly time: readonly [column: string, type: string, length: number]
  readonly settings: readonly string[]
  readonly hasMetric: boolean
}

const MOMENT = ['ts', "DateTime64(3, 'UTC')", 23] as const
const SOURCES: Readonly<Record<Dataset, Source>> = {
  creators: {
    columns:
      'platform, creator_id, name, handle, biography, verified, gone, flags, email, picture_url, followers, ts, observed_at',
    table: 'creators',
    time: MOMENT,
    settings: [],
    hasMetric: false,
  },
  points: {
    columns: 'platform, creator_id, metric, ts, value, observed_at',
    table: 'points',
    time: MOMENT,
    settings: [BY_PARTITION],
    hasMetric: true,
  },
  daily: {
    columns: 'platform, creator_id, metric, day, value',
    table: 'points_daily',
    time: ['day', 'Date', 10],
    settings: [BY_PARTITION],
    hasMetric: true,
  },
  media: {
    columns: 'platform, creator_id, media_id, kind, title, url, published_at, ts, observed_at',
    table: 'media',
    time: MOMENT,
    settings: [],
    hasMetric: false,
  },
}

/** Whether a dataset has rows by metric. */
export function hasMetric(what: Dataset): boolean {
  return SOURCES[what].hasMetric
}

/**
 * A whole dataset in the order in which the engine finds it, as a stream of bytes: nothing of it is kept here. The stream ends
 * with an error when the query fails on its way. Rejects as `ask` does while nothing has come.
 */
export async function exported(engine: Engine, options: ExportOptions): Promise<Readable> {
  const { what, format, platform, creatorId, metric, fromMs, toMs, signal, timeoutMs } = options
  const { columns, table, time, settings } = SOURCES[what]
  const [column, type, length] = time
  const params: Record<string, unknown> = {}
  const conditions: string[] = []
  const bind = (name: string, value: unknown, condition: string) => {
    if (value === undefined) return
    params[name] = value
    conditions.push(condition)
  }
  bind('platform', platform, 'platform = {platform:String}')
  bind('creator_id', creatorId, 'creator_id = {creator_id:String}')
  bind('metric', metric, 'metric = {metric:String}')
  const moment = (ms: number | undefined) => (ms === undefined ? undefined : sqlTime(ms).slice(0, length))
  bind('from', moment(fromMs), `${column} >= {from:${type}}`)
  bind('to', moment(toMs), `${column} < {to:${type}}`)
  const query = [
    `SELECT ${columns} FROM ${table} FINAL`,
    ...(conditions.length === 0 ? [] : [`WHERE ${conditions.join(' AND ')}`]),
    `SETTINGS ${[`max_execution_time = ${Math.ceil(timeoutMs / 1000)}`, "date_time_output_format = 'iso'", ...settings].join(', ')}`,
    `FORMAT ${FORMATS[format].engine}`,
  ].join('\n')
  try {
    const { stream, response_headers } = await engine.read.exec({
      query,
      query_params: params,
      abort_signal: signal,
      clickhouse_settings: settingsOf(engine),
    })
    const bytes = stream instanceof Readable ? stream : Readable.from(stream as AsyncIterable<Buffer>)
    const tag = response_headers?.['x-clickhouse-exception-tag']
    const watch = new ExceptionWatch(typeof tag === 'string' ? tag : undefined)
    bytes.once('error', (error) => watch.destroy(error))
    watch.once('close', () => bytes.destroy())
    return bytes.pipe(watch)
  } catch (error) {
    signal.throwIfAborted()
    if (engineCode(error) === '159')
      throw new ApiProblem('query_timeout', 'The export took too long to begin.', { cause: error })
    throw translateEngineError(engine, error, 'An export')
  }
}
