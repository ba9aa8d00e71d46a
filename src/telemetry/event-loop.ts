import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Metrics } from './metrics.ts'

/** How late the event loop ran what was due, in milliseconds. */
export interface EventLoopDelay {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

type DelayHistogram = ReturnType<typeof monitorEventLoopDelay>

/** The sampling timer's period. The histogram records it as part of every sample, so it is taken off again. */
const RESOLUTION_MS = 10

const NONE: EventLoopDelay = { p50Ms: 0, p99Ms: 0, maxMs: 0 }

/**
 * Watches the event loop's delay. A reading covers the last one to two windows, whichever of the two was worse, and takes
 * nothing away: any number of scrapers and consoles may read without hiding a spike from one another, which they would if
 * each reading started the histogram afresh.
 *
 * States: stopped → (start) → watching → (stop) → stopped.
 */
export class EventLoopMonitor {
  readonly #metrics: Metrics
  readonly #windowMs: number
  #histogram: DelayHistogram | undefined
  #timer: NodeJS.Timeout | undefined
  #last: EventLoopDelay = NONE

  /** `windowMs`: default 15,000, a usual scrape interval. */
  constructor(options: { metrics: Metrics; windowMs?: number }) {
    this.#metrics = options.metrics
    this.#windowMs = options.windowMs ?? 15_000
  }

  start(): void {
    if (this.#histogram !== undefined) return
    this.#histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
    this.#histogram.enable()
    this.#timer = setInterval(() => this.#turn(), this.#windowMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#histogram?.disable()
    this.#histogram = undefined
    this.#last = NONE
  }

  read(): EventLoopDelay {
    const now = delayOf(this.#histogram)
    return {
      p50Ms: Math.max(now.p50Ms, this.#last.p50Ms),
      p99Ms: Math.max(now.p99Ms, this.#last.p99Ms),
      maxMs: Math.max(now.maxMs, this.#last.maxMs),
    }
  }

  /** Writes the reading into `event_loop_delay_seconds`; call it ahead of every scrape. */
  record(): void {
    const { p50Ms, p99Ms, maxMs } = this.read()
    const gauge = this.#metrics.event_loop_delay_seconds
    gauge.set({ stat: 'p50' }, p50Ms / 1000)
    gauge.set({ stat: 'p99' }, p99Ms / 1000)
    gauge.set({ stat: 'max' }, maxMs / 1000)
  }

  #turn(): void {
    this.#last = delayOf(this.#histogram)
    this.#histogram?.reset()
  }
}

function delayOf(histogram: DelayHistogram | undefined): EventLoopDelay {
  // An empty histogram reports nonsense for its bounds.
  if (histogram === undefined || histogram.count === 0) return NONE
  return {
    p50Ms: beyondResolution(histogram.percentile(50)),
    p99Ms: beyondResolution(histogram.percentile(99)),
    maxMs: beyondResolution(histogram.max),
  }
}

function beyondResolution(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS)
}
