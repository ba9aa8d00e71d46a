import { formatDuration } from '../config/values.ts'
import type { LevelState } from '../job/permit.ts'
import { chargeOf, type PlannedLevel } from '../limiter/plan.ts'
import { grouped } from './table.ts'
import { span } from './time.ts'

/** A limit as it is configured: `15/s, burst 1,000`, `20 per 60s`, `10,000 units a day (UTC)`. */
export function limitText(level: PlannedLevel): string {
  // A call of cost 2 takes 2 of a level that counts units.
  const units = chargeOf(level, 2) === 2 ? ' units' : ''
  switch (level.kind) {
    case 'bucket':
      return `${rate(level.limit.rate)}${units}/s, burst ${grouped(level.limit.burst)}`
    case 'window':
      return `${grouped(level.limit.limit)}${units} per ${windowSpan(level.limit.windowMs)}`
    case 'quota':
      return `${grouped(level.limit.limit)}${units} a ${level.limit.period} (${level.limit.timeZone})`
  }
}

/** A limit as the limiter states it: `15/s, burst 985` (what the jitter leaves), `20 per 60s`, `10,000 per 1d`. */
export function stateLimitText({ kind, capacity, rate: perSecond }: LevelState): string {
  if (kind === 'bucket') return `${rate(perSecond)}/s, burst ${grouped(capacity)}`
  return `${grouped(capacity)} per ${windowSpan((capacity / perSecond) * 1_000)}`
}

/** As limits are stated: in seconds up to two minutes, `60s` rather than `1m`. */
export function windowSpan(ms: number): string {
  const wholeMs = Math.round(ms)
  if (wholeMs >= 1_000 && wholeMs <= 120_000) return `${wholeMs / 1_000}s`
  return wholeMs % 60_000 === 0 || wholeMs < 1_000 ? formatDuration(wholeMs) : span(wholeMs)
}

/** The limiter keeps whole microseconds between two units, so that 3 a second are 2.999994. */
function rate(perSecond: number): string {
  return Number(perSecond.toPrecision(4)).toLocaleString('en-US', { maximumSignificantDigits: 4 })
}
