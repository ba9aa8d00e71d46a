/** What is looked at now and then: counters since the start, and gauges. */
export interface HistoryReading {
  readonly counters: Readonly<Record<string, number>>
  readonly gauges: Readonly<Record<string, number>>
}

/** A place on the time axis. Counters have become rates a second since the place before. */
export interface HistoryPoint {
  /** Unix ms. */
  readonly at: number
  readonly values: Readonly<Record<string, number>>
}

/** As a fresh page gets it: a row for each point, `[at, ...values]` in the order of the names. */
export interface HistoryReport {
  readonly stepMs: number
  readonly points: number
  readonly names: readonly string[]
  readonly rows: readonly (readonly number[])[]
}

/** Fifteen minutes. */
const STEP_MS = 5_000
const POINTS_MAX = 180

/** The last quarter of an hour, so that a page that is opened in the middle of trouble shows how it came. Bounded. */
export class History {
  readonly #read: () => HistoryReading | Promise<HistoryReading>
  readonly #stepMs: number
  readonly #pointsMax: number
  readonly #points: HistoryPoint[] = []
  #before: { readonly at: number; readonly counters: HistoryReading['counters'] } | undefined
  #timer: NodeJS.Timeout | undefined
  #looking = false

  constructor(
    read: () => HistoryReading | Promise<HistoryReading>,
    { stepMs = STEP_MS, pointsMax = POINTS_MAX }: { stepMs?: number; pointsMax?: number } = {},
  ) {
    this.#read = read
    this.#stepMs = stepMs
    this.#pointsMax = pointsMax
  }

  start(): void {
    if (this.#timer !== undefined) return
    void this.look(Date.now())
    this.#timer = setInterval(() => void this.look(Date.now()), this.#stepMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  get last(): HistoryPoint | undefined {
    return this.#points.at(-1)
  }

  get report(): HistoryReport {
    const names = Object.keys(this.last?.values ?? {})
    return {
      stepMs: this.#stepMs,
      points: this.#pointsMax,
      names,
      rows: this.#points.map(({ at, values }) => [at, ...names.map((name) => values[name] ?? 0)]),
    }
  }

  /** Takes a reading; the first one only begins the counting. Called by the timer. `nowMs`: Unix ms. */
  async look(nowMs: number): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { counters, gauges } = await this.#read()
      const before = this.#before
      this.#before = { at: nowMs, counters }
      if (before === undefined || nowMs <= before.at) return
      const seconds = (nowMs - before.at) / 1000
      const rates = Object.entries(counters).map(([name, value]) => {
        const grown = Math.max(0, value - (before.counters[name] ?? 0))
        return [name, rounded(grown / seconds)] as const
      })
      const levels = Object.entries(gauges).map(([name, value]) => [name, rounded(value)] as const)
      this.#points.push({ at: nowMs, values: Object.fromEntries([...rates, ...levels]) })
      if (this.#points.length > this.#pointsMax) this.#points.shift()
    } catch {
      // A gap in a chart; whoever asks for the status is told what is wrong.
    } finally {
      this.#looking = false
    }
  }
}

/** As precise as a chart can show. */
function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
