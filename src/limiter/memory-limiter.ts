import type { Demand, Grant, LevelState, Limiter } from '../job/permit.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { block, decide, levels } from './decide.ts'
import { checkPlan, type LimitPlan } from './plan.ts'
import {
  blockQuestion,
  type ColdStart,
  decideQuestion,
  grantsOf,
  levelsOf,
  levelsQuestion,
} from './question.ts'
import { apply, emptyState } from './state.ts'

export interface MemoryLimiterOptions {
  readonly plan: LimitPlan
  /**
   * A process does not know what the one before it was granted: `empty` (the default) begins with empty buckets and full
   * windows. `full` is for a demo, for tests, and for upstreams that nobody has called for a window.
   */
  readonly coldStart?: ColdStart
  readonly metrics: Metrics
  /** Unix ms, fractions welcome. Default: a clock that is never set. */
  readonly nowMs?: () => number
}

/** The limits of a daemon that is alone: the same decisions as the stacked limiter's, in this process's memory. */
export class MemoryLimiter implements Limiter {
  readonly healthy = true
  readonly #plan: LimitPlan
  readonly #coldStart: ColdStart
  readonly #metrics: Metrics
  readonly #nowMs: () => number
  readonly #state = emptyState()

  /** Throws MillraceError `LIMIT_PLAN` for a plan that cannot work. */
  constructor(options: MemoryLimiterOptions) {
    checkPlan(options.plan)
    this.#plan = options.plan
    this.#coldStart = options.coldStart ?? 'empty'
    this.#metrics = options.metrics
    this.#nowMs = options.nowMs ?? (() => performance.timeOrigin + performance.now())
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async decide(demand: Demand): Promise<readonly Grant[]> {
    const stopTimer = this.#metrics.limiter_call_duration_seconds.startTimer()
    const compiled = decideQuestion(this.#plan, demand, this.#coldStart)
    const { verdicts, changes } = decide(this.#state, compiled.question, this.#nowUs())
    apply(this.#state, compiled.question, changes)
    stopTimer()
    this.#metrics.limiter_calls_total.inc({ outcome: 'ok' })
    return grantsOf(demand, compiled, verdicts)
  }

  async block(target: { platform: string; endpoint?: string }, durationMs: number): Promise<void> {
    const question = blockQuestion(this.#plan, target, durationMs, this.#coldStart)
    apply(this.#state, question, block(this.#state, question, this.#nowUs()))
  }

  /** Lifts the block of an endpoint, or of the platform itself. */
  async unblock(target: { platform: string; endpoint?: string }): Promise<void> {
    const question = blockQuestion(this.#plan, target, 0, this.#coldStart, 'unblock')
    apply(this.#state, question, block(this.#state, question, this.#nowUs()))
  }

  async levels(platform: string): Promise<readonly LevelState[]> {
    const question = levelsQuestion(this.#plan, platform, this.#coldStart)
    return levelsOf(question, levels(this.#state, question, this.#nowUs()))
  }

  #nowUs(): number {
    return Math.floor(this.#nowMs() * 1000)
  }
}
