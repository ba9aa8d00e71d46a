import type { Ack, Advice, LimitTarget, Want } from '../../src/job/permit.ts'
import { charge, decide, forgive, learn, levels } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import type { ColdStart } from '../../src/limiter/question.ts'
import { Questions } from '../../src/limiter/questions.ts'
import { apply, emptyState } from '../../src/limiter/state.ts'
import { PLAN, want } from './sample.ts'

const EPOCH_MS = 1_760_000_000_000

/** A limiter over the pure functions, its clock in the test's hand. */
export class Bench {
  nowMs = EPOCH_MS
  runId = 'a'
  state = emptyState()
  readonly #questions: (daemon: string) => Questions
  #requests = 0

  constructor(plan: LimitPlan = PLAN, coldStart: ColdStart = 'full') {
    const known = new Map<string, Questions>()
    this.#questions = (daemon) => {
      let questions = known.get(daemon)
      if (questions === undefined) {
        questions = new Questions(plan, { coldStart, daemon, nowMs: () => this.nowMs })
        known.set(daemon, questions)
      }
      return questions
    }
  }

  ask(
    wants: readonly Want[],
    options: {
      acks?: readonly Ack[]
      platform?: string
      requestId?: string
      permitsMax?: number
      daemon?: string
    } = {},
  ) {
    const {
      acks = [],
      platform = 'instagram',
      requestId = `r${this.#requests++}`,
      permitsMax,
      daemon = '',
    } = options
    const demand = { requestId, platform, wants, acks, permitsMax }
    const questions = this.#questions(daemon)
    const compiled = questions.decide(demand)
    const decision = decide(this.state, compiled.question, this.nowMs * 1000, this.runId)
    apply(this.state, compiled.question, decision.changes)
    questions.saw(compiled.question, decision.quotas, decision.nowUs)
    return questions.grantsOf(demand, compiled, decision.verdicts)
  }

  one(endpoint: string, count = 1, cost = 1, platform = 'instagram') {
    return this.ask([want(endpoint, count, cost)], { platform })[0]!
  }

  ack(endpoint: string, grant: string, arrived: number, platform = 'instagram') {
    return this.ask([], { acks: [{ endpoint, grant, arrived }], platform })
  }

  learn(target: LimitTarget, advice: Advice) {
    const question = this.#questions('').learn(target, advice)
    apply(this.state, question, learn(this.state, question, this.nowMs * 1000, this.runId))
  }

  block(target: LimitTarget, blockMs: number) {
    this.learn(target, { blockMs })
  }

  forgive(target: LimitTarget) {
    const question = this.#questions('').forgive(target)
    apply(this.state, question, forgive(this.state, question, this.nowMs * 1000, this.runId))
  }

  charge(platform: string, endpoint: string, points: number) {
    const question = this.#questions('').charge({ platform, endpoint }, points)
    apply(this.state, question, charge(this.state, question, this.nowMs * 1000, this.runId).changes)
  }

  levels(platform = 'instagram') {
    const questions = this.#questions('')
    const question = questions.levels(platform)
    const readings = levels(this.state, question, this.nowMs * 1000, this.runId)
    return new Map(questions.levelsOf(question, readings).map((level) => [level.level, level]))
  }
}
