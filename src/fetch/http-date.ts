/** Of a reply. Names in lower case. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

const IMF = /^[A-Za-z]{3}, (\d{2}) ([A-Za-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const RFC850 = /^[A-Za-z]+, (\d{2})-([A-Za-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const ASCTIME = /^[A-Za-z]{3} ([A-Za-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** Unix ms of an HTTP date in any of the three forms of RFC 9110, 5.6.7; undefined for anything else. */
export function parseHttpDate(text: string): number | undefined {
  let match = IMF.exec(text)
  if (match !== null) return utc(match[3], match[2], match[1], match.slice(4))
  match = RFC850.exec(text)
  // Two digits: the century that is nearest; the form was obsolete long before 2000.
  if (match !== null)
    return utc(`${Number(match[3]) < 70 ? '20' : '19'}${match[3]}`, match[2], match[1], match.slice(4))
  match = ASCTIME.exec(text)
  if (match !== null) return utc(match[6], match[1], match[2], match.slice(3, 6))
  return undefined
}

/**
 * Unix ms by the upstream's own clock where it tells it (`Date`), so that a difference between the clocks does not lengthen a
 * wait; else `nowMs`.
 */
export function upstreamNowMs(headers: Headers, nowMs: number): number {
  const date = firstOf(headers.date)
  return (date === undefined ? undefined : parseHttpDate(date)) ?? nowMs
}

/** The value of a header that has one; the first where it came several times. */
export function firstOf(value: string | string[] | undefined): string | undefined {
  return (Array.isArray(value) ? value[0] : value)?.trim()
}

function utc(
  year: string | undefined,
  month: string | undefined,
  day: string | undefined,
  time: string[],
): number | undefined {
  const index = MONTHS.indexOf((month ?? '').toLowerCase())
  if (index < 0) return undefined
  const [hours, minutes, seconds] = time.map(Number)
  return Date.UTC(Number(year), index, Number(day), hours, minutes, seconds)
}
