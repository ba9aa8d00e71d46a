import { DateTime, IANAZone } from 'luxon'
import type { CalendarPeriod } from './plan.ts'

/**
 * The instants, Unix ms ascending, at which the periods around `nowMs` begin: the one before, the one of now, and three more. Days
 * are as long as the clocks of the zone make them. Several, because whoever is asked for the time may have another clock than ours.
 */
export function periodStarts(period: CalendarPeriod, timeZone: string, nowMs: number): readonly number[] {
  const current = DateTime.fromMillis(nowMs, { zone: timeZone }).startOf(period)
  return [-1, 0, 1, 2, 3].map((periods) =>
    current
      .plus({ [period]: periods })
      // In zones whose clocks change at midnight, adding a day may lead to an hour that does not exist.
      .startOf(period)
      .toMillis(),
  )
}

export function isTimeZone(name: string): boolean {
  return IANAZone.isValidZone(name)
}
