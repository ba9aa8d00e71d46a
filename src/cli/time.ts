import { DateTime } from 'luxon'

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const

/** A length of time for people, in its two largest units and rounded up: 30250000 → `8h 25m`, 59100 → `1m 0s`. */
export function span(ms: number): string {
  let rounded = Math.ceil(ms)
  if (rounded <= 0) return '0s'
  if (rounded < 1_000) return `${rounded}ms`
  for (;;) {
    const place = UNITS.findIndex(([, unitMs]) => rounded >= unitMs)
    const [unit, unitMs] = UNITS[place]!
    const [smaller, smallerMs] = UNITS[place + 1] ?? ['', unitMs]
    const up = Math.ceil(rounded / smallerMs) * smallerMs
    const whole = Math.floor(rounded / unitMs)
    if (up === rounded) {
      return smaller === ''
        ? `${whole}${unit}`
        : `${whole}${unit} ${(rounded % unitMs) / smallerMs}${smaller}`
    }
    // Rounding up may fill the next unit: 59.6 s are 1m 0s.
    rounded = up
  }
}

/** A time of day on the clock of this machine, with the date unless it is today's: `14:03:20`, `22 Nov 09:00:00`. */
export function clock(atMs: number, nowMs: number): string {
  const at = DateTime.fromMillis(atMs)
  return at.toFormat(at.hasSame(DateTime.fromMillis(nowMs), 'day') ? 'HH:mm:ss' : 'd LLL HH:mm:ss', {
    locale: 'en',
  })
}
