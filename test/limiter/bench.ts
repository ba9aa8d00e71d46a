import type { Ack, Want } from '../../src/job/permit.ts'
import { block, decide, levels } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import {
  blockQuestion,
  type ColdStart,
  decideQuestion,
  grantsOf,
  levelsOf,
  levelsQuestion,
} from '../../src/limiter/question.ts'
import { apply, emptyState } from '../../src/limiter/state.ts'
import { PLAN, want } from './sample.ts'

const EPOCH_MS = 1_760_000_000_000

/** A limiter over the pure functions, its clock in the test's hand. */
export class Bench {
  nowMs = EPOCH_MS
  runId = 'a'
  readonly state = emptyState()
  readonly #plan: LimitPlan
  readonly #coldStart: ColdStart
  #requests = 0

  constructor(plan: LimitPlan = PLAN, coldStart: ColdStart = 'full') {
    this.#plan = plan
    this.#coldStart = coldStart
  }

  ask(
    wants: readonly Want[],
    options: { acks?: readonly Ack[]; platform?: string; requestId?: string } = {},
  ) {
    const { acks = [], platform = 'instagram', requestId = `r${this.#requests++}` } = options
    const demand = { requestId, platform, wants, acks }
    const compiled = decideQuestion(this.#plan, demand, this.#coldStart)
    const decision = decide(this.state, compiled.question, this.nowMs * 1000, this.runId)
    apply(this.state, compiled.question, decision.changes)
    return grantsOf(demand, compiled, decision.verdicts)
  }

  one(endpoint: string, count = 1, cost = 1, platform = 'instagram') {
    return this.ask([want(endpoint, count, cost)], { platform })[0]!
  }

  ack(endpoint: string, grant: string, units: number, platform = 'instagram') {
    return this.ask([], { acks: [{ endpoint, grant, units }], platform })
  }

  block(target: { platform: string; endpoint?: string }, durationMs: number) {
    const question = blockQuestion(this.#plan, target, durationMs, this.#coldStart)
    apply(this.state, question, block(this.state, question, this.nowMs * 1000, this.runId))
  }

  levels(platform = 'instagram') {
    const question = levelsQuestion(this.#plan, platform, this.#coldStart)
    const readings = levels(this.state, question, this.nowMs * 1000, this.runId)
    return new Map(levelsOf(question, readings).map((level) => [level.level, level]))
  }
}
