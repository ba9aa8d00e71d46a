import type { TestContext } from 'node:test'
import { FetchEngine } from '../../src/fetch/engine.ts'
import { isPermitLate } from '../../src/fetch/errors.ts'
import { readJson, sampleOf } from '../../src/fetch/json.ts'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { retryAfterMs } from '../../src/fetch/retry-after.ts'
import type { Credential, TokenShelf } from '../../src/job/credential.ts'
import type { Platform } from '../../src/job/platform.ts'
import { MemoryLimiter } from '../../src/limiter/memory-limiter.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { AdviceRelay } from '../../src/pipeline/advice-relay.ts'
import type { Errand } from '../../src/pipeline/errand.ts'
import { PermitDesk } from '../../src/pipeline/permit-desk.ts'
import { Standing } from '../../src/pipeline/standing.ts'
import { Upstream } from '../../src/pipeline/upstream.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { Secrets } from '../../src/telemetry/secrets.ts'
import { PATIENT } from '../fetch/local.ts'

/** Wide open, but for what a test says. */
export const OPEN_PLAN: LimitPlan = {
  global: { rate: 10_000, burst: 10_000 },
  platforms: {},
  defaultPlatform: { rate: 10_000, burst: 10_000 },
  endpoints: {},
  defaultEndpoint: { limit: 10_000, windowMs: 1_000 },
  arrivalJitterMs: 100,
  grantTimeoutMs: 60_000,
}

export const RETRY = { attemptsMax: 3, baseMs: 20, ceilingMs: 100, inPlaceMaxMs: 1_000, throttledMax: 10 }

export interface BenchOptions {
  readonly origin: string
  readonly credentials: readonly Credential[]
  readonly plan?: Partial<LimitPlan>
  readonly shelfOf?: (platform: string, credential: Credential) => TokenShelf
}

/** One platform as a daemon has it, from the errand to the socket, with limits in memory. */
export async function upstreamOf(t: TestContext, platform: Platform, options: BenchOptions) {
  const { origin, credentials, plan, shelfOf } = options
  const log = createLog({ level: 'silent', pretty: false, secrets: [] })
  const metrics = createMetrics()
  const limiter = new MemoryLimiter({ plan: { ...OPEN_PLAN, ...plan }, coldStart: 'full', metrics })
  const { host } = new URL(origin)
  const fetcher = new FetchEngine(
    {
      platformOrigins: [{ origin: `http://${host}`, platform: platform.name, private: true }],
      ...PATIENT,
    },
    { metrics, log },
  )
  const desk = new PermitDesk(limiter, metrics, log, {
    // Longer than a machine stands still: a permit that is late is charged for and never sent.
    useWithinMs: 60_000,
    room: () => fetcher.room(`http://${host}`),
    credentials: () => upstream.credentials,
    sweepMs: 20,
  })
  const upstream = new Upstream(
    platform,
    { origin, credentials, minIntervalsMs: {} },
    {
      ...{ desk, fetcher, limiter, metrics, log, shelfOf, secrets: new Secrets() },
      relay: new AdviceRelay(limiter, log),
      reader: { readJson, sampleOf, retryAfterMs, adviceOf },
      retry: RETRY,
      isLate: isPermitLate,
    },
  )
  desk.start()
  t.after(async () => {
    await desk.stop()
    await fetcher.stop()
  })
  return { upstream, desk, metrics }
}

export function errandOf(fields: Partial<Errand> = {}): Errand {
  return {
    priority: 5,
    sinceMs: Date.now(),
    expiresAtMs: Date.now() + 60_000,
    signal: new AbortController().signal,
    tally: { attempts: 0, throttled: 0, badResponses: 0 },
    standing: new Standing(() => {}),
    isInTheWay: () => false,
    calls: 0,
    renewed: undefined,
    observedAtMs: 0,
    creatorId: 'x',
    ...fields,
  }
}
