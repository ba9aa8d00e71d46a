import { setTimeout as sleep } from 'node:timers/promises'
import type { Ack, Limiter } from '../../src/job/permit.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import type { Arrival } from './oracle.ts'
import { demand, want } from './sample.ts'

/** Short windows, so that many fit into a test. */
export const BUSY: LimitPlan = {
  global: { rate: 200, burst: 100 },
  platforms: { p: { rate: 60, burst: 30 } },
  endpoints: { p: { tight: { limit: 20, windowMs: 1_000 }, wide: { limit: 100, windowMs: 1_000 } } },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 200,
  grantTimeoutMs: 600,
}

/** Uses up the limits through one limiter until told: a request arrives when its permit does, and is acknowledged a little later. */
export async function saturate(
  limiter: Pick<Limiter, 'decide'>,
  arrivals: Arrival[],
  goesOn: () => boolean,
): Promise<void> {
  let acks: Ack[] = []
  while (goesOn()) {
    const askedAtMs = performance.now()
    const told = acks
    acks = []
    const grants = await limiter
      .decide(demand('p', [want('tight', 9), want('wide', 9)], told))
      .catch(() => undefined)
    const atMs = performance.now()
    // Nobody knows whether they were counted: they may be said again.
    if (grants === undefined) acks = told.slice(-1_000)
    let waitMs = grants === undefined ? 25 : 200
    for (const { endpoint, grant, granted, waitMs: nextMs } of grants ?? []) {
      waitMs = Math.min(waitMs, nextMs)
      if (granted === 0) continue
      acks.push({ endpoint, grant, arrived: granted })
      if (atMs - askedAtMs > BUSY.arrivalJitterMs) continue
      for (let i = 0; i < granted; i++) arrivals.push({ atMs, platform: 'p', endpoint, cost: 1 })
    }
    await sleep(acks.length > 0 ? Math.min(10, waitMs) : waitMs)
  }
}
