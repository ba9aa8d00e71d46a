import type { TestContext } from 'node:test'
import { FetchEngine } from '../../src/fetch/engine.ts'
import { isPermitLate } from '../../src/fetch/errors.ts'
import { readJson, sampleOf } from '../../src/fetch/json.ts'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { retryAfterMs } from '../../src/fetch/retry-after.ts'
import type { Platform } from '../../src/job/platform.ts'
import { MemoryLimiter } from '../../src/limiter/memory-limiter.ts'
import type { LimitPlan, WindowLimit } from '../../src/limiter/plan.ts'
import { AdviceRelay } from '../../src/pipeline/advice-relay.ts'
import type { Errand } from '../../src/pipeline/errand.ts'
import { runJob } from '../../src/pipeline/job-run.ts'
import { PermitDesk } from '../../src/pipeline/permit-desk.ts'
import { Standing } from '../../src/pipeline/standing.ts'
import { Upstream } from '../../src/pipeline/upstream.ts'
import { youtube } from '../../src/platforms/youtube.ts'
import { DEFAULT_CREDENTIALS } from '../../src/simulator/options.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { jobOf } from '../platforms/recorded-context.ts'

const NO_MARKS = {
  ended: async () => null,
  end: async (_name: string, result: Buffer) => result,
  scrapedBy: async () => null,
  scraped: async () => {},
  start: async () => {},
  stop: async () => {},
}

/** YouTube's `profile` jobs on real parts, from the adapter down to the socket, under limits in memory. */
export class YoutubeBench {
  readonly metrics = createMetrics()
  readonly desk: PermitDesk
  readonly #upstream: Upstream
  readonly #log = createLog({ level: 'silent', pretty: false, secrets: [] })
  readonly #retry = { attemptsMax: 3, baseMs: 20, ceilingMs: 40, inPlaceMaxMs: 1_000, throttledMax: 2 }

  constructor(t: TestContext, origin: string, channel: WindowLimit, platform: Platform = youtube) {
    const plan: LimitPlan = {
      global: { rate: 1_000, burst: 1_000 },
      platforms: { youtube: { rate: 1_000, burst: 1_000 } },
      endpoints: { youtube: { channel } },
      defaultEndpoint: { limit: 1_000, windowMs: 1_000 },
      arrivalJitterMs: 500,
      grantTimeoutMs: 30_000,
    }
    const log = this.#log
    const limiter = new MemoryLimiter({ plan, coldStart: 'full', metrics: this.metrics })
    const { origin: address } = new URL(origin)
    const fetcher = new FetchEngine(
      { platformOrigins: [{ origin: address, platform: 'youtube', private: true }] },
      { metrics: this.metrics, log },
    )
    const room = () => fetcher.room(address)
    this.desk = new PermitDesk(limiter, this.metrics, log, { useWithinMs: 250, room, sweepMs: 20 })
    this.desk.start()
    t.after(async () => {
      await this.desk.stop()
      await fetcher.stop(AbortSignal.abort())
    })
    this.#upstream = new Upstream(
      platform,
      { origin, credentials: DEFAULT_CREDENTIALS.youtube, minIntervalsMs: {} },
      {
        desk: this.desk,
        fetcher,
        relay: new AdviceRelay(limiter, log),
        reader: { readJson, sampleOf, retryAfterMs, adviceOf },
        metrics: this.metrics,
        retry: this.#retry,
        isLate: isPermitLate,
      },
    )
  }

  /** Runs a job; says how it ended, with what it had behind it. */
  async run(
    creatorId: string,
    { attempts = 0, expiresAtMs = Date.now() + 60_000, signal = new AbortController().signal } = {},
  ) {
    const job = {
      ...jobOf(youtube.jobs.profile, creatorId, {}),
      platform: 'youtube',
      type: 'profile',
      expiresAtMs,
    }
    const errand: Errand = {
      priority: 5,
      sinceMs: Date.now(),
      expiresAtMs,
      signal,
      tally: { attempts, throttled: 0, badResponses: 0 },
      standing: new Standing(() => {}),
      isInTheWay: () => false,
      calls: 0,
      renewal: 'none',
      observedAtMs: 0,
      creatorId,
    }
    const ports = { retry: this.#retry, marks: NO_MARKS, log: this.#log }
    const outcome = await runJob(job, this.#upstream, errand, ports)
    return { outcome, errand }
  }
}
