import { decide } from '../../src/limiter/decide.ts'
import { endpointLevel } from '../../src/limiter/plan.ts'
import { Questions } from '../../src/limiter/questions.ts'
import { apply, emptyState, type LimiterState } from '../../src/limiter/state.ts'
import { costPlan, Demands, endpointName, GRAIN_US, LOG_LENGTHS, PLATFORM } from './cost-plan.ts'
import type { Effort } from './script-cost.ts'
import { figure, median, textTable } from './text-table.ts'

const SIZES = [1, 10, 100]

/** A table of `decide` in memory, and with what surrounds it in the memory limiter; microseconds a call, medians of rounds. */
export function pureCosts(effort: Effort): string {
  const head = [
    'endpoints asked',
    'decide, 8 entries',
    'whole call',
    'decide, 1,024 entries',
    'whole call',
    'µs/endpoint',
  ]
  const rows = SIZES.map((asked) => {
    const short = cost(asked, LOG_LENGTHS.short, effort)
    const long = cost(asked, LOG_LENGTHS.long, effort)
    const values = [short.decideUs, short.wholeUs, long.decideUs, long.wholeUs, short.decideUs / asked]
    return [String(asked), ...values.map(figure)]
  })
  return textTable(head, rows)
}

function cost(asked: number, logEntries: number, effort: Effort): { decideUs: number; wholeUs: number } {
  // Any moment will do; it goes on by a millisecond a call.
  let nowUs = 1_760_000_000_000_000
  const state = filled(asked, logEntries, nowUs)
  const questions = new Questions(costPlan('free'), { coldStart: 'full', nowMs: () => nowUs / 1_000 })
  const demands = new Demands(asked)
  let decideMs = 0
  const call = () => {
    const demand = demands.next()
    const compiled = questions.decide(demand)
    const startMs = performance.now()
    const { verdicts, changes } = decide(state, compiled.question, nowUs)
    decideMs += performance.now() - startMs
    apply(state, compiled.question, changes)
    demands.answered(questions.grantsOf(demand, compiled, verdicts))
    nowUs += 1_000
    return verdicts
  }
  const misread = call().find(
    ({ granted, remaining }) => granted !== 1 || remaining > 1_000_000 - logEntries - 1,
  )
  if (misread !== undefined) throw new Error(`the state is not what it should be: ${JSON.stringify(misread)}`)
  const rounds: { decideUs: number; wholeUs: number }[] = []
  // The first is for the compiler.
  for (let round = 0; round <= effort.rounds; round++) {
    decideMs = 0
    let calls = 0
    const startMs = performance.now()
    let elapsedMs = 0
    do {
      call()
      calls++
      elapsedMs = performance.now() - startMs
    } while (elapsedMs < effort.roundMs)
    if (round > 0) {
      rounds.push({ decideUs: (decideMs * 1_000) / calls, wholeUs: (elapsedMs * 1_000) / calls })
    }
  }
  return {
    decideUs: median(rounds.map(({ decideUs }) => decideUs)),
    wholeUs: median(rounds.map(({ wholeUs }) => wholeUs)),
  }
}

function filled(endpoints: number, logEntries: number, nowUs: number): LimiterState {
  const state = emptyState()
  const lastUs = Math.floor(nowUs / GRAIN_US) * GRAIN_US
  const log = Array.from({ length: logEntries }, (_, i) => ({
    timeUs: lastUs - (logEntries - 1 - i) * GRAIN_US,
    units: 1,
  }))
  for (let i = 0; i < endpoints; i++) {
    state.levels.set(endpointLevel(PLATFORM, endpointName(i)), {
      kind: 'window',
      epochUs: 0,
      blockedUntilUs: 0,
      factor: 1_000,
      factorAtUs: 0,
      recent: [],
      log,
      pending: [],
    })
  }
  return state
}
