import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { Ack, Demand, Want } from '../../src/job/permit.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

/** A plan with two platforms, whose levels are far apart so that a test can choose which one holds it back. */
export const PLAN: LimitPlan = {
  global: { rate: 100, burst: 1000, counts: 'units' },
  platforms: {
    instagram: { rate: 10, burst: 50, counts: 'units' },
    youtube: { rate: 5, burst: 40, counts: 'units' },
  },
  endpoints: {
    instagram: { user_media: { limit: 5, windowMs: 10_000 }, user_profile: { limit: 30, windowMs: 60_000 } },
    youtube: {
      search: { limit: 1000, windowMs: 60_000, counts: 'units' },
      channel: { limit: 1000, windowMs: 60_000 },
    },
  },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 500,
  grantTimeoutMs: 20_000,
}

export function want(endpoint: string, count = 1, cost = 1): Want {
  return { endpoint, count, cost }
}

export function demand(platform: string, wants: readonly Want[], acks: readonly Ack[] = []): Demand {
  return { requestId: randomUUID(), platform, wants, acks }
}

export const SILENT = pino({ level: 'silent' })

export function metrics() {
  return createMetrics()
}
