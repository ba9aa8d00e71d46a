import type { Readiness, ServiceStatus } from './admin/status.ts'
import type { Service } from './job/errors.ts'
import type { Metrics } from './telemetry/metrics.ts'

/** Something that the daemon needs, as it looks right now. */
export interface Need {
  readonly service: Service
  /** True while it takes what we give it. */
  readonly healthy: () => boolean
  /** What it means when it is away, in one sentence. */
  readonly away: string
}

const LOOK_MS = 250

/**
 * Whether the daemon can do its work, and why not. Looks at what it needs a few times a second, and tells when a sink went
 * away or came back, so that the intake is held meanwhile: nothing is dropped, nothing drains into the dead letters.
 */
export class ReadinessWatch {
  readonly #needs: readonly Need[]
  readonly #metrics: Metrics
  readonly #onChange: (service: Service, healthy: boolean, away: string) => void
  /** Reasons that are no service's: still starting, draining, no partitions, a paused platform. */
  readonly #others: () => readonly string[]
  readonly #away = new Map<Service, string>()
  #timer: NodeJS.Timeout | undefined

  constructor(
    needs: readonly Need[],
    others: () => readonly string[],
    metrics: Metrics,
    onChange: (service: Service, healthy: boolean, away: string) => void,
  ) {
    this.#needs = needs
    this.#others = others
    this.#metrics = metrics
    this.#onChange = onChange
  }

  start(): void {
    this.#look()
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  get(): Readiness {
    const reasons = [...this.#others(), ...this.#away.values()]
    return { ready: reasons.length === 0, reasons }
  }

  /** What the daemon writes to, and what it means of those that are away. */
  get services(): readonly ServiceStatus[] {
    return this.#needs.map(({ service }) => ({ service, away: this.#away.get(service) ?? null }))
  }

  #look(): void {
    for (const { service, healthy, away } of this.#needs) {
      const up = healthy()
      this.#metrics.sink_healthy.set({ service }, up ? 1 : 0)
      if (up === !this.#away.has(service)) continue
      if (up) this.#away.delete(service)
      else this.#away.set(service, away)
      this.#onChange(service, up, away)
    }
    this.#metrics.daemon_ready.set(this.get().ready ? 1 : 0)
  }
}
