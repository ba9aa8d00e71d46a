import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { Redis } from 'ioredis'
import type { RateLimiterAbstract } from 'rate-limiter-flexible'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import type { ColdStart } from '../../src/limiter/question.ts'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { metrics, PLAN, SILENT } from './sample.ts'

interface MakeOptions {
  readonly plan?: LimitPlan
  readonly coldStart?: ColdStart
  readonly keyPrefix?: string
  readonly insuranceLimiter?: RateLimiterAbstract
  readonly cluster?: readonly string[]
  /** Default 30,000: longer than a machine holds a process up. */
  readonly commandTimeoutMs?: number
}

function make(url: string, options: MakeOptions = {}) {
  const {
    plan = PLAN,
    coldStart = 'full',
    keyPrefix = `test-${randomUUID()}`,
    insuranceLimiter,
    cluster,
    commandTimeoutMs = 30_000,
  } = options
  const recorded = metrics()
  const redis = { url, cluster, keyPrefix, commandTimeoutMs, startTimeoutMs: 30_000 }
  return {
    limiter: new StackedLimiter({
      plan,
      redis,
      coldStart,
      metrics: recorded,
      log: SILENT,
      ...(insuranceLimiter === undefined ? {} : { insuranceLimiter }),
    }),
    recorded,
    keyPrefix,
  }
}

/** A started limiter with a key prefix of its own; it stops, and its keys go, with the test. */
export async function open(t: TestContext, url: string, options: MakeOptions = {}) {
  const made = make(url, options)
  await made.limiter.start()
  t.after(async () => {
    await made.limiter.stop()
    const redis = new Redis(url, { lazyConnect: true, retryStrategy: null })
    redis.on('error', () => {})
    const keys = await redis.connect().then(
      () => redis.keys(`{${made.keyPrefix}}*`),
      () => [],
    )
    if (keys.length > 0) await redis.del(...keys)
    redis.disconnect()
  })
  return made
}
