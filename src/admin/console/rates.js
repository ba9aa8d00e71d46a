import { sum } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */
/** @typedef {Record<string, number | undefined>} Rates */

const SAMPLES_MAX = 6
const GAP_MS_MAX = 10_000

/**
 * Counters of an event: jobs by where they are, permits of each platform under `granted:<platform>`, failures under `failed:<reason>`.
 * @param {ConsoleEvent} event
 */
function countersOf({ jobs, permits, pictures, rows, committed }) {
  const { consumed, retried, finished } = jobs
  const granted = Object.entries(permits).map(([platform, endpoints]) => {
    return /** @type {const} */ ([platform, sum(Object.values(endpoints).map((one) => one.granted))])
  })
  return {
    consumed,
    retried,
    committed,
    dead: finished.dead,
    ended: finished.done + finished.skipped + finished.dead,
    pictures: pictures.stored + pictures.known,
    rows: sum(Object.values(rows.written)),
    granted: sum(granted.map(([, value]) => value)),
    ...Object.fromEntries(jobs.reasons.map((one) => [`failed:${one.reason}`, one.dead + one.retried])),
    ...Object.fromEntries(granted.map(([platform, value]) => [`granted:${platform}`, value])),
  }
}

/**
 * Makes rates a second of counters: the difference to the oldest of the last few. Undefined until there are two, and anew when the
 * daemon began anew.
 * @returns {(event: ConsoleEvent, nowMs: number) => Rates}
 */
export function rateMeter() {
  /** @type {{ at: number, startedAt: string, counters: Record<string, number> }[]} */
  let samples = []
  return (event, nowMs) => {
    const { startedAt } = event
    const last = samples.at(-1)
    if (last !== undefined && (last.startedAt !== startedAt || nowMs - last.at > GAP_MS_MAX)) samples = []
    const counters = countersOf(event)
    samples.push({ at: nowMs, startedAt, counters })
    if (samples.length > SAMPLES_MAX) samples.shift()
    const first = samples[0]
    const seconds = first === undefined ? 0 : (nowMs - first.at) / 1000
    const rate = (/** @type {[string, number]} */ [name, value]) => [
      name,
      seconds > 0 ? Math.max(0, value - (first?.counters[name] ?? 0)) / seconds : undefined,
    ]
    return Object.fromEntries(Object.entries(counters).map(rate))
  }
}
