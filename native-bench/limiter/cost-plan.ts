import type { Ack, Demand, Grant } from '../../src/job/permit.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'

export const PLATFORM = 'bench'
/** A window so long that hardly anything leaves it while the benchmark runs, cut into 1,024 grains as every window is. */
export const WINDOW_MS = 3_600_000
export const GRAIN_US = Math.floor((WINDOW_MS * 1_000) / 1_024)
/** Units in a window before its first call: one for each entry of its log. */
export const LOG_LENGTHS = { short: 8, long: 1_024 }

/** Limits with room for every permit that is asked for, or windows that 1,024 units fill. */
export function costPlan(room: 'free' | 'full'): LimitPlan {
  const open = { rate: 1_000_000, burst: 1_000_000 }
  return {
    global: open,
    platforms: { [PLATFORM]: open },
    endpoints: {},
    defaultEndpoint: { limit: room === 'free' ? 1_000_000 : LOG_LENGTHS.long, windowMs: WINDOW_MS },
    arrivalJitterMs: 500,
    grantTimeoutMs: 30_000,
  }
}

export function endpointName(index: number): string {
  return `endpoint-${index}`
}

/** Demands of one permit from each of so many endpoints, each acknowledging what the one before it was granted. */
export class Demands {
  readonly #endpoints: readonly string[]
  #acks: readonly Ack[] = []
  #requests = 0

  constructor(count: number) {
    this.#endpoints = Array.from({ length: count }, (_, i) => endpointName(i))
  }

  next(): Demand {
    const wants = this.#endpoints.map((endpoint) => ({ endpoint, count: 1, cost: 1 }))
    return { requestId: `request-${this.#requests++}`, platform: PLATFORM, wants, acks: this.#acks }
  }

  answered(grants: readonly Grant[]): void {
    this.#acks = grants
      .filter(({ granted }) => granted > 0)
      .map(({ endpoint, grant, granted }) => ({ endpoint, grant, arrived: granted }))
  }
}
