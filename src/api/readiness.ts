import type { Metrics } from '../telemetry/metrics.ts'

export interface ApiReadiness {
  /** Whether requests can be answered. */
  readonly ready: boolean
  /** What does not answer; some of it makes the API slower, not useless. */
  readonly reasons: readonly string[]
}

const LOOK_MS = 5_000

/** Looks every five seconds whether the API can do its work, for `millrace_api_ready`; and at once for whoever asks. */
export class ReadinessLook {
  readonly #look: () => Promise<ApiReadiness>
  readonly #metrics: Metrics
  #timer: NodeJS.Timeout | undefined
  #looking = false

  /** `look` says itself what is not well, and never rejects. */
  constructor(look: () => Promise<ApiReadiness>, metrics: Metrics) {
    this.#look = look
    this.#metrics = metrics
  }

  async start(): Promise<void> {
    this.#timer ??= setInterval(() => {
      // A look takes seconds when the database hangs: one at a time.
      if (!this.#looking) void this.check()
    }, LOOK_MS).unref()
    await this.check()
  }

  /** The gauge is 0 from now on. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#metrics.api_ready.set(0)
  }

  async check(): Promise<ApiReadiness> {
    this.#looking = true
    try {
      const found = await this.#look()
      // A look that ends after `stop` says nothing any more.
      if (this.#timer !== undefined) this.#metrics.api_ready.set(found.ready ? 1 : 0)
      return found
    } finally {
      this.#looking = false
    }
  }
}
