/** RFC 3339 in UTC of a number of Unix ms, as an engine returns it; null for the beginning of time, which stands for none. */
export function momentOf(ms: number | string | null): string | null {
  const number = Number(ms ?? 0)
  return number === 0 ? null : new Date(number).toISOString()
}

/** When the platform answered, where that is more than a minute from the logical time; else null. */
export function observedUnless(tsMs: number | string, observedS: number | string): string | null {
  const observedMs = Number(observedS) * 1000
  return Math.abs(observedMs - Number(tsMs)) > 60_000 ? momentOf(observedMs) : null
}
