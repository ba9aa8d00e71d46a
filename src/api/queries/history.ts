import { type Engine, sqlTime } from '../../timeseries/engine.ts'
import { ask, BY_PARTITION } from './ask.ts'
import type { WhichCreator } from './creator.ts'
import { observedUnless } from './moment.ts'

export const STEPS = ['hour', 'day', 'week'] as const
export type Step = (typeof STEPS)[number]

const HOUR_MS = 3_600_000
/** Weeks begin on Monday; 1970 began on a Thursday. */
const STEP_MS: Readonly<Record<Step, { readonly lengthMs: number; readonly offsetMs: number }>> = {
  hour: { lengthMs: HOUR_MS, offsetMs: 0 },
  day: { lengthMs: 24 * HOUR_MS, offsetMs: 0 },
  week: { lengthMs: 168 * HOUR_MS, offsetMs: 96 * HOUR_MS },
}

export interface HistoryOptions extends WhichCreator {
  readonly metric: string
  /** Unix ms: steps that begin in [from, to). */
  readonly fromMs: number
  readonly toMs: number
  readonly step: Step
}

/** The beginning of the step that a moment is in, Unix ms. */
export function stepAt(ms: number, step: Step): number {
  const { lengthMs, offsetMs } = STEP_MS[step]
  return Math.floor((ms - offsetMs) / lengthMs) * lengthMs + offsetMs
}

/** How many steps there are from the one that `fromMs` is in to the last that begins before `toMs`. */
export function stepsIn(fromMs: number, toMs: number, step: Step): number {
  return Math.max(0, Math.ceil((toMs - stepAt(fromMs, step)) / STEP_MS[step].lengthMs))
}

/** One point for each step: the last number in it, or null where nobody looked. Nothing is made up in between. */
export async function historyOf(engine: Engine, options: HistoryOptions) {
  const { platform, creatorId, metric, fromMs, toMs, step } = options
  const { lengthMs, offsetMs } = STEP_MS[step]
  const firstMs = stepAt(fromMs, step)
  const rows = await ask<{ at: number | string; value: number; ts_ms: number | string; observed_s: number }>(
    engine,
    {
      sql: `SELECT intDiv(toUnixTimestamp64Milli(ts) - {offset:Int64}, {length:Int64}) AS at,
  argMax(value, ts) AS value, toUnixTimestamp64Milli(max(ts)) AS ts_ms, toUnixTimestamp(argMax(observed_at, ts)) AS observed_s
FROM points FINAL
PREWHERE platform = {platform:String} AND metric = {metric:String} AND creator_id = {creator_id:String}
  AND ts >= {from:DateTime64(3, 'UTC')} AND ts < {to:DateTime64(3, 'UTC')}
GROUP BY at ORDER BY at`,
      params: {
        ...{ platform, metric, creator_id: creatorId, offset: offsetMs, length: lengthMs },
        from: sqlTime(firstMs),
        to: sqlTime(toMs),
      },
    },
    options,
    BY_PARTITION,
  )
  const found = new Map(rows.map((row) => [Number(row.at) * lengthMs + offsetMs, row]))
  return Array.from({ length: stepsIn(fromMs, toMs, step) }, (_, index) => {
    const atMs = firstMs + index * lengthMs
    const row = found.get(atMs)
    return {
      at: new Date(atMs).toISOString(),
      value: row?.value ?? null,
      ts: row === undefined ? null : new Date(Number(row.ts_ms)).toISOString(),
      observed_at: row === undefined ? null : observedUnless(row.ts_ms, row.observed_s),
    }
  })
}
