import type { Metrics } from '../telemetry/metrics.ts'

/** The platform label of downloads: they belong to a job of some platform, but their hosts to none. */
export const PICTURES = 'pictures'

interface Platform {
  readonly label: { readonly platform: string }
  readonly durations: Map<string, { platform: string; endpoint: string; status: string }>
  inFlight: number
}

/**
 * Writes the engine's metrics. Label objects are made once per platform, endpoint and status; requests in flight are
 * counted here and published by `publish`, a few times a second, instead of twice per request.
 */
export class FetchMeter {
  readonly #metrics: Metrics
  readonly #platforms = new Map<string, Platform>()

  constructor(metrics: Metrics) {
    this.#metrics = metrics
  }

  began(platform: string): void {
    this.#platform(platform).inFlight += 1
  }

  ended(platform: string): void {
    this.#platform(platform).inFlight -= 1
  }

  bytes(platform: string, count: number): void {
    if (count > 0) this.#metrics.fetch_bytes_total.inc(this.#platform(platform).label, count)
  }

  /** `status` undefined: there was no reply. */
  duration(platform: string, endpoint: string, status: number | undefined, ms: number): void {
    const group = groupOf(status)
    const { durations } = this.#platform(platform)
    const key = `${endpoint} ${group}`
    let labels = durations.get(key)
    if (labels === undefined) {
      labels = { platform, endpoint, status: group }
      durations.set(key, labels)
    }
    this.#metrics.fetch_duration_seconds.observe(labels, ms / 1000)
  }

  breaker(platform: string, open: boolean): void {
    this.#metrics.breaker_open.set(this.#platform(platform).label, open ? 1 : 0)
  }

  publish(): void {
    for (const { label, inFlight } of this.#platforms.values()) {
      this.#metrics.fetches_in_flight.set(label, inFlight)
    }
  }

  // Bounded: platforms and endpoints come from configuration, never from a job.
  #platform(platform: string): Platform {
    let known = this.#platforms.get(platform)
    if (known === undefined) {
      known = { label: { platform }, durations: new Map(), inFlight: 0 }
      this.#platforms.set(platform, known)
    }
    return known
  }
}

function groupOf(status: number | undefined): string {
  if (status === undefined) return 'error'
  return status === 429 ? '429' : `${Math.floor(status / 100)}xx`
}
