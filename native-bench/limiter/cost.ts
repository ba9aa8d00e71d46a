import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Want } from '../../src/job/permit.ts'
import { decide } from '../../src/limiter/decide.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { Questions } from '../../src/limiter/questions.ts'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { apply, emptyState } from '../../src/limiter/state.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

const OPEN = { rate: 1e6, burst: 1e6 }
const PLAN: LimitPlan = {
  global: OPEN,
  platforms: { p: OPEN },
  endpoints: {},
  defaultEndpoint: { limit: 1_000_000, windowMs: 60_000 },
  arrivalJitterMs: 500,
  grantTimeoutMs: 30_000,
}

function wants(count: number): Want[] {
  return Array.from({ length: count }, (_, n) => ({ endpoint: `endpoint_${n}`, count: 2, cost: 1 }))
}

/** Time inside Redis (INFO commandstats) and there and back, µs; medians of `rounds`. */
export async function decisionCost(url: string, rounds: number): Promise<void> {
  const admin = new Redis(url)
  const log = createLog({ level: 'silent', pretty: false, secrets: [] })
  const open = async (plan: LimitPlan) => {
    const redis = { url, keyPrefix: randomUUID(), commandTimeoutMs: 10_000 }
    const limiter = new StackedLimiter({ plan, redis, coldStart: 'full', metrics: createMetrics(), log })
    await limiter.start()
    return limiter
  }
  const measure = async (limiter: StackedLimiter, asked: readonly Want[], calls: number) => {
    const inside: number[] = []
    const roundTrip: number[] = []
    for (let round = 0; round < rounds; round++) {
      await admin.call('CONFIG', 'RESETSTAT')
      const startedMs = performance.now()
      for (let call = 0; call < calls; call++) {
        const demand = { requestId: randomUUID(), platform: 'p', wants: asked }
        const grants = await limiter.decide({ ...demand, acks: [] })
        // Arrived at once, so that nothing piles up.
        const acks = grants.flatMap(({ endpoint, grant, granted }) =>
          granted > 0 ? [{ endpoint, grant, arrived: granted }] : [],
        )
        if (call === calls - 1) break
        await limiter.decide({ requestId: randomUUID(), platform: 'p', wants: [], acks })
      }
      roundTrip.push(((performance.now() - startedMs) * 1000) / (2 * calls - 1))
      const stats = await admin.info('commandstats')
      inside.push(Number(/^cmdstat_evalsha:.*usec_per_call=([\d.]+)/m.exec(stats)?.[1]))
    }
    return { inside: median(inside), roundTrip: median(roundTrip) }
  }
  console.log('| in the state | asked for | inside Redis µs | there and back µs |')
  console.log('|---|---|---|---|')
  const row = (state: string | number, asked: string | number, cost: { inside: number; roundTrip: number }) =>
    console.log(`| ${state} | ${asked} | ${cost.inside.toFixed(0)} | ${cost.roundTrip.toFixed(0)} |`)
  for (const stored of [1, 10, 100, 1_000]) {
    const limiter = await open(PLAN)
    await limiter.decide({ requestId: randomUUID(), platform: 'p', wants: wants(stored), acks: [] })
    for (const asked of [1, 10, 100, 1_000].filter((one) => one <= stored))
      row(stored, asked, await measure(limiter, wants(asked), asked >= 100 ? 20 : 200))
    await limiter.stop()
  }
  const full = await open({ ...PLAN, defaultEndpoint: { limit: 1_000_000, windowMs: 4_000 } })
  const untilMs = performance.now() + 4_500
  while (performance.now() < untilMs) await measure(full, wants(1), 20)
  row('1, its log full', 1, await measure(full, wants(1), 200))
  await full.stop()

  // Held back: the queue of the bucket has a place for each.
  const scarce = { ...PLAN, platforms: { p: { rate: 0.01, burst: 1.1 } } }
  const keyPrefix = randomUUID()
  const redis = { url, keyPrefix, commandTimeoutMs: 10_000 }
  const crowd = await Promise.all(
    Array.from({ length: 64 }, async () => {
      const one = new StackedLimiter({
        plan: scarce,
        redis,
        coldStart: 'full',
        metrics: createMetrics(),
        log,
      })
      await one.start()
      await one.decide({ requestId: randomUUID(), platform: 'p', wants: wants(1), acks: [] })
      return one
    }),
  )
  row('1, 64 daemons wait', 1, await measure(crowd[0]!, wants(1), 200))
  await Promise.all(crowd.map((one) => one.stop()))
  admin.disconnect()
}

/** The pure decision, µs. */
export function pureCost(): void {
  console.log('| endpoints | µs |')
  console.log('|---|---|')
  for (const count of [1, 10, 100]) {
    const questions = new Questions(PLAN, { coldStart: 'full' })
    const state = emptyState()
    const calls = Math.round(20_000 / count)
    let spentMs = 0
    for (let call = 0; call < calls; call++) {
      const nowUs = 1.7e15 + call * 1_000
      const startedMs = performance.now()
      const demand = { requestId: `r${call}`, platform: 'p', wants: wants(count), acks: [] }
      const compiled = questions.decide(demand)
      const { verdicts, changes } = decide(state, compiled.question, nowUs)
      apply(state, compiled.question, changes)
      const grants = questions.grantsOf(demand, compiled, verdicts)
      spentMs += performance.now() - startedMs
      const acks = grants.map(({ endpoint, grant, granted }) => ({ endpoint, grant, arrived: granted }))
      const told = questions.decide({ requestId: `a${call}`, platform: 'p', wants: [], acks })
      apply(state, told.question, decide(state, told.question, nowUs).changes)
    }
    console.log(`| ${count} | ${((spentMs * 1000) / calls).toFixed(1)} |`)
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}
