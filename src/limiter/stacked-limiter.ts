import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { MillraceError } from '../job/errors.ts'
import type { Demand, Grant, LevelState, Limiter } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { checkPlan, type LimitPlan } from './plan.ts'
import {
  blockQuestion,
  type ColdStart,
  type Compiled,
  decideQuestion,
  grantsOf,
  type LevelReading,
  levelsOf,
  levelsQuestion,
  type Question,
  type Verdict,
} from './question.ts'
import { createClient, RedisLink, type RedisLinkOptions } from './redis-link.ts'

export interface StackedLimiterOptions {
  readonly plan: LimitPlan
  readonly redis: RedisLinkOptions
  /**
   * What to believe when Redis knows nothing of us, or is another server than before. Default `empty`: wait one window, for
   * a first start cannot be told from lost data, in Redis. Who knows that nobody has called the platforms may say `full`.
   */
  readonly coldStart?: ColdStart
  readonly metrics: Metrics
  readonly log: Log
}

interface Target {
  readonly platform: string
  readonly endpoint?: string
}

/** The script as ioredis offers it once it is defined: EVALSHA, and EVAL when the server does not know it (any more). */
interface ScriptedRedis extends Redis {
  millraceDecide(keys: number, ...keysAndArguments: string[]): Promise<unknown>
}

const SCRIPT = readFileSync(new URL('./decide.lua', import.meta.url), 'utf8')

/** What `_upsert` hands to `_getRateLimiterRes`. */
interface Consumed {
  readonly granted: boolean
  readonly remaining: number
  readonly waitMs: number
}

/**
 * The limits that all daemons share through Redis: global bucket, platform bucket and endpoint window, decided together in
 * one call (decide.lua), on Redis' clock.
 *
 * It is a `RateLimiterRedis` of rate-limiter-flexible, so `consume('instagram/user_media', cost)`, `get`, `block` (with
 * seconds) and `delete` (lifts a block) work as its users expect; `consume` takes all levels or none. What is granted is never
 * given back: `reward`, `penalty` and `set` are refused. The daemon itself uses `decide`, which asks for many permits at once
 * and acknowledges their arrival.
 *
 * When a call to `decide` fails, nobody knows whether it was counted. Its acknowledgements may be repeated within a minute under
 * the same `requestId` (without its wants, when those would come too late): then they count once. Under another id they could
 * count twice, and free a slot whose request is still on its way.
 */
export class StackedLimiter extends RateLimiterRedis implements Limiter {
  readonly #plan: LimitPlan
  readonly #coldStart: ColdStart
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #link: RedisLink
  readonly #client: ScriptedRedis
  readonly #prefix: string

  /** Throws MillraceError `LIMIT_PLAN` for a plan or prefix that cannot work. Does no I/O. */
  constructor(options: StackedLimiterOptions) {
    const { plan, redis } = options
    checkPlan(plan)
    if (!/^[^{}\s]{1,100}$/.test(redis.keyPrefix)) {
      throw new MillraceError(
        'LIMIT_PLAN',
        `Redis key prefix "${redis.keyPrefix}": expected 1–100 characters without braces.`,
        {
          kind: 'usage',
        },
      )
    }
    const client = createClient(redis)
    super({
      storeClient: client,
      keyPrefix: `{${redis.keyPrefix}}`,
      // What the library compares with; the limits themselves are in the plan.
      points: Math.floor(plan.global.burst),
      duration: 1,
    })
    client.defineCommand('millraceDecide', { lua: SCRIPT })
    // defineCommand has just added the method that the type names.
    this.#client = client as ScriptedRedis
    this.#link = new RedisLink(client, redis, options.log)
    this.#prefix = `{${redis.keyPrefix}}`
    this.#plan = plan
    this.#coldStart = options.coldStart ?? 'empty'
    this.#metrics = options.metrics
    this.#log = options.log
  }

  get healthy(): boolean {
    return this.#link.healthy
  }

  /** Connects; rejects with ServiceAwayError when Redis does not answer in time, and may then be called again. */
  start(): Promise<void> {
    return this.#link.start()
  }

  stop(): Promise<void> {
    return this.#link.stop()
  }

  async decide(demand: Demand): Promise<readonly Grant[]> {
    const compiled = decideQuestion(this.#plan, demand, this.#coldStart)
    return grantsOf(demand, compiled, await this.#decide(compiled))
  }

  override block(
    key: string | number,
    secDuration: number,
    options?: Record<string, unknown>,
  ): Promise<RateLimiterRes>
  override block(target: Target, durationMs: number): Promise<void>
  override async block(
    target: string | number | Target,
    duration: number,
    options: Record<string, unknown> = {},
  ): Promise<unknown> {
    if (typeof target !== 'object') return super.block(target, duration, options)
    return void (await this.#ask(blockQuestion(this.#plan, target, duration, this.#coldStart)))
  }

  /** Lifts the block of an endpoint, or of the platform itself. */
  async unblock(target: Target): Promise<void> {
    await this.#ask(blockQuestion(this.#plan, target, 0, this.#coldStart, 'unblock'))
  }

  async levels(platform: string): Promise<readonly LevelState[]> {
    const question = levelsQuestion(this.#plan, platform, this.#coldStart)
    // The script's own shape: four whole numbers for each level.
    const rows = (await this.#ask(question)) as [number, number, number, number][]
    const readings = rows.map(
      ([remaining, blockedUntilUs, granted, spanUs]): LevelReading => ({
        remaining,
        blockedUntilUs,
        granted,
        spanUs,
      }),
    )
    return levelsOf(question, readings)
  }

  /** Refused: a grant counts whether it is used or not, and only decisions are made here. */
  override async reward(): Promise<RateLimiterRes> {
    throw unsupported('reward')
  }

  override async penalty(): Promise<RateLimiterRes> {
    throw unsupported('penalty')
  }

  override async set(): Promise<RateLimiterRes> {
    throw unsupported('set')
  }

  /** rate-limiter-flexible's store operation, behind `consume` and `block`: one call decides every level. */
  async _upsert(key: string, points: number, durationMs: number, forceExpire = false): Promise<Consumed> {
    const target = this.#target(key)
    if (forceExpire) {
      await this.#ask(blockQuestion(this.#plan, target, durationMs, this.#coldStart))
      return { granted: false, remaining: 0, waitMs: durationMs }
    }
    return this.#consume(target, points, 1)
  }

  /** The state of an endpoint without taking anything. */
  async _get(key: string): Promise<Consumed> {
    return this.#consume(this.#target(key), 1, 0)
  }

  async _delete(key: string): Promise<boolean> {
    await this.unblock(this.#target(key))
    return true
  }

  /** The library takes a call for refused when more points are consumed than it has. */
  _getRateLimiterRes(
    _key: string,
    changedPoints: number,
    { granted, remaining, waitMs }: Consumed,
  ): RateLimiterRes {
    const consumed = granted
      ? Math.min(this.points, Math.max(changedPoints, this.points - remaining))
      : this.points + 1
    return new RateLimiterRes(remaining, waitMs, consumed, false)
  }

  async #consume(target: Target & { endpoint: string }, cost: number, count: number): Promise<Consumed> {
    const want = { endpoint: target.endpoint, count, cost }
    const demand = { requestId: randomUUID(), platform: target.platform, wants: [want], acks: [] }
    const [verdict] = await this.#decide(decideQuestion(this.#plan, demand, this.#coldStart))
    const { granted = 0, remaining = 0, waitUs = 0 } = verdict ?? {}
    return { granted: granted === count, remaining, waitMs: Math.ceil(waitUs / 1000) }
  }

  async #decide({ question }: Compiled): Promise<readonly Verdict[]> {
    const stopTimer = this.#metrics.limiter_call_duration_seconds.startTimer()
    let outcome = 'error'
    try {
      // The script's own shape: whether it began anew, then four whole numbers for each want.
      const [cold, ...rows] = (await this.#ask(question)) as [number, ...[number, number, number, number][]]
      outcome = 'ok'
      if (cold === 1) this.#tellColdStart()
      return rows.map(([granted, waitUs, level, remaining]) => ({ granted, waitUs, level, remaining }))
    } finally {
      stopTimer()
      this.#metrics.limiter_calls_total.inc({ outcome })
    }
  }

  #ask(question: Question): Promise<unknown> {
    const keys = [`${this.#prefix}:limits`]
    if (question.op === 'decide') keys.push(`${this.#prefix}:answer:${question.platform}:${question.id}`)
    return this.#link.run(() => this.#client.millraceDecide(keys.length, ...keys, JSON.stringify(question)))
  }

  /** `{prefix}:platform/endpoint`, the library's key, taken apart. */
  #target(key: string): { platform: string; endpoint: string } {
    const name = key.slice(this.#prefix.length + 1)
    const slash = name.indexOf('/')
    if (slash < 1) {
      throw new MillraceError(
        'LIMIT_DEMAND',
        `The key "${name}" names no endpoint: expected platform/endpoint.`,
        {
          kind: 'usage',
        },
      )
    }
    return { platform: name.slice(0, slash), endpoint: name.slice(slash + 1) }
  }

  #tellColdStart(): void {
    this.#log.warn(
      { grantTimeoutMs: this.#plan.grantTimeoutMs },
      'limiter: Redis does not know what was granted before; buckets start empty, and windows stay full for one window',
    )
  }
}

function unsupported(what: string): MillraceError {
  return new MillraceError(
    'LIMITER_UNSUPPORTED',
    `The stacked limiter does not ${what}: what it grants, it has granted.`,
  )
}
