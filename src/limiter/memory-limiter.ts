import type { Advice, Demand, Grant, LevelState, Limiter, LimitTarget } from '../job/permit.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { decide, forgive, learn, levels } from './decide.ts'
import type { LimitPlan } from './plan.ts'
import { checkPlan } from './plan-check.ts'
import type { ColdStart } from './question.ts'
import { Questions } from './questions.ts'
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
  readonly #questions: Questions
  readonly #metrics: Metrics
  readonly #nowMs: () => number
  readonly #state = emptyState()

  /** Throws MillraceError `LIMIT_PLAN` for a plan that cannot work. */
  constructor(options: MemoryLimiterOptions) {
    checkPlan(options.plan)
    this.#metrics = options.metrics
    this.#nowMs = options.nowMs ?? (() => performance.timeOrigin + performance.now())
    this.#questions = new Questions(options.plan, {
      coldStart: options.coldStart ?? 'empty',
      nowMs: this.#nowMs,
    })
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async decide(demand: Demand): Promise<readonly Grant[]> {
    const stopTimer = this.#metrics.limiter_call_duration_seconds.startTimer()
    const compiled = this.#questions.decide(demand)
    const { verdicts, changes } = decide(this.#state, compiled.question, this.#nowUs())
    apply(this.#state, compiled.question, changes)
    stopTimer()
    this.#metrics.limiter_calls_total.inc({ outcome: 'ok' })
    return this.#questions.grantsOf(demand, compiled, verdicts)
  }

  async learn(target: LimitTarget, advice: Advice): Promise<void> {
    const question = this.#questions.learn(target, advice)
    apply(this.#state, question, learn(this.#state, question, this.#nowUs()))
  }

  /** Lifts the block of an endpoint, or of the platform itself, and restores its whole limit. */
  async forgive(target: LimitTarget): Promise<void> {
    const question = this.#questions.forgive(target)
    apply(this.#state, question, forgive(this.#state, question, this.#nowUs()))
  }

  async levels(platform: string): Promise<readonly LevelState[]> {
    const question = this.#questions.levels(platform)
    return this.#questions.levelsOf(question, levels(this.#state, question, this.#nowUs()))
  }

  #nowUs(): number {
    return Math.floor(this.#nowMs() * 1000)
  }
}
