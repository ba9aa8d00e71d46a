const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const clockS = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const day = new Intl.DateTimeFormat(undefined, {
  weekday: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
})

/** @param {number} n */
export function count(n) {
  return Math.abs(n) < 100_000 ? whole.format(n) : compact.format(n)
}

/** @param {number} n */
export function short(n) {
  return Math.abs(n) < 10_000 ? whole.format(n) : compact.format(n)
}

/** A figure without its unit. @param {number | undefined} n */
export function figure(n) {
  if (n === undefined) return '–'
  return n === 0 || n >= 9.95 ? short(Math.round(n)) : n.toFixed(1)
}

/** @param {number | undefined} n */
export function perSecond(n) {
  return `${figure(n)}/s`
}

/** @param {number} n */
export function bytes(n) {
  return n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(2)} GiB` : `${whole.format(n / 2 ** 20)} MiB`
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  return `${Math.round(share * 100)}%`
}

/** @param {number} seconds */
export function span(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`
}

/** `14:05`, or with the day when it is not within twelve hours. @param {number} ms Unix ms */
export function timeOf(ms) {
  return (Math.abs(ms - Date.now()) < 43_200_000 ? clock : day).format(ms)
}

/** @param {number} ms Unix ms */
export function timeWithSeconds(ms) {
  return clockS.format(ms)
}

/** `1 call`, `2 calls`. @param {number} n @param {string} one */
export function some(n, one) {
  return `${count(n)} ${one}${n === 1 ? '' : 's'}`
}

/** @param {readonly number[]} numbers */
export function sum(numbers) {
  return numbers.reduce((a, b) => a + b, 0)
}
