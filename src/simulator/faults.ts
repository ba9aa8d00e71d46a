import { unit } from './hash.ts'

const BROKEN = ['html', 'truncated', 'error_body', 'empty', 'torn'] as const

/** Replies that are whole and no use. */
export type BrokenReply = Exclude<(typeof BROKEN)[number], 'torn'>
/** What may go wrong with a reply although the request was within all limits. */
export type Fault = 'error' | 'throttle' | (typeof BROKEN)[number]

export interface FaultOptions {
  readonly seed: number
  readonly errorRate: number
  readonly throttleRate: number
  readonly brokenShare: number
  readonly latencyMs: number
  readonly jitterMs: number
}

/** Draws faults and delays, the same sequence for the same seed. */
export class Faults {
  /** How long an invented "slow down" asks to wait. */
  readonly throttleMs = 2000
  readonly #options: FaultOptions
  #drawn = 0

  constructor(options: FaultOptions) {
    this.#options = options
  }

  draw(): Fault | undefined {
    const { errorRate, throttleRate, brokenShare } = this.#options
    if (errorRate + throttleRate + brokenShare === 0) return undefined
    const at = this.#unit()
    if (at < errorRate) return 'error'
    if (at < errorRate + throttleRate) return 'throttle'
    if (at < errorRate + throttleRate + brokenShare) return BROKEN[Math.floor(this.#unit() * BROKEN.length)]
    return undefined
  }

  /** Whole ms, so that the timers of many requests share their lists. */
  delayMs(): number {
    const { latencyMs, jitterMs } = this.#options
    if (jitterMs === 0) return Math.round(latencyMs)
    return Math.round(latencyMs + Math.min(10, -Math.log(1 - this.#unit())) * jitterMs)
  }

  #unit(): number {
    this.#drawn += 1
    return unit(this.#options.seed, this.#drawn, 31)
  }
}
