import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import { type RateLimiterAbstract, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { MillraceError } from '../job/errors.ts'
import type { Advice, Demand, Grant, LevelState, Limiter, LimitTarget } from '../job/permit.ts'
import { createClient, RedisLink, type RedisLinkOptions, type RedisUser } from '../redis/link.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { LimitPlan } from './plan.ts'
import { checkPlan } from './plan-check.ts'
import type { ColdStart, LevelReading, Question, QuotaReading, Verdict } from './question.ts'
import { type Compiled, type MembershipOptions, Questions } from './questions.ts'

export interface StackedLimiterOptions {
  readonly plan: LimitPlan
  readonly redis: RedisLinkOptions
  /**
   * What to believe when Redis knows nothing of us, or is another server than before. Default `empty`: wait one window, for
   * a first start cannot be told from lost data, in Redis. Who knows that nobody has called the platforms may say `full`.
   */
  readonly coldStart?: ColdStart
  /** What `consume` and its kin of rate-limiter-flexible ask while Redis is away. Default: they reject. */
  readonly insuranceLimiter?: RateLimiterAbstract
  /** Among how many daemons each has a share to go on with while Redis is away; see fixed-share. Default: none has. */
  readonly membership?: MembershipOptions | undefined
  readonly metrics: Metrics
  readonly log: Log
}

/** The script as ioredis offers it once it is defined: EVALSHA, and EVAL when the server does not know it (any more). */
type Scripted = (Redis | Cluster) & {
  millraceDecide(keys: number, ...keysAndArguments: string[]): Promise<unknown>
}

const USER: RedisUser = { name: 'limiter', whileAway: 'nothing is granted', pipelines: false }

const SCRIPT = readFileSync(new URL('./decide.lua', import.meta.url), 'utf8')

/** What `_upsert` hands to `_getRateLimiterRes`. */
interface Consumed {
  readonly granted: boolean
  readonly remaining: number
  readonly waitMs: number
}

/**
 * The limits that all daemons share through Redis: every level of a call is decided together in one call to Redis (decide.lua),
 * on Redis' clock. Works with one server and with a cluster: all keys share a hash tag.
 *
 * It is a `RateLimiterRedis` of rate-limiter-flexible, so `consume('instagram/user_media', points)`, `get`, `block` (with
 * seconds), `penalty` (what somebody else has used), `delete` (lifts a block, restores the limit) and the insurance limiter work as
 * its users expect; `consume` takes its points from all levels or from none. What is granted is never given back: `reward` and
 * `set` are refused. The daemon itself uses `decide`, which asks for many permits at once and acknowledges their arrival.
 *
 * When a call to `decide` fails, nobody knows whether it was counted. What it may have been granted counts until its time-out;
 * its acknowledgements may be repeated, under any request id.
 */
export class StackedLimiter extends RateLimiterRedis implements Limiter {
  readonly #questions: Questions
  readonly #plan: LimitPlan
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #link: RedisLink
  readonly #client: Scripted
  readonly #prefix: string
  #isMember = false

  /** Throws MillraceError `LIMIT_PLAN` for a plan or prefix that cannot work. Does no I/O. */
  constructor(options: StackedLimiterOptions) {
    const { plan, redis, coldStart = 'empty', insuranceLimiter, membership } = options
    checkPlan(plan)
    if (!/^[^{}\s]{1,100}$/.test(redis.keyPrefix)) {
      throw new MillraceError(
        'LIMIT_PLAN',
        `Redis key prefix "${redis.keyPrefix}": expected 1–100 characters without braces.`,
        { kind: 'usage' },
      )
    }
    const client = createClient(redis, USER)
    super({
      storeClient: client,
      keyPrefix: `{${redis.keyPrefix}}`,
      // What the library compares with; the limits themselves are in the plan.
      points: Math.floor(plan.global.burst),
      duration: 1,
      ...(insuranceLimiter === undefined ? {} : { insuranceLimiter }),
    })
    client.defineCommand('millraceDecide', { lua: SCRIPT })
    // defineCommand has just added the method that the type names.
    this.#client = client as Scripted
    this.#link = new RedisLink(client, redis, USER, options.log)
    this.#prefix = `{${redis.keyPrefix}}`
    this.#plan = plan
    this.#questions = new Questions(plan, { coldStart, daemon: randomUUID(), membership })
    this.#metrics = options.metrics
    this.#log = options.log
  }

  get healthy(): boolean {
    return this.#link.healthy
  }

  /** Whether this daemon has a share to go on with, as Redis said last. */
  get isMember(): boolean {
    return this.#isMember
  }

  /** Connects; rejects with ServiceAwayError when Redis does not answer in time, and may then be called again. */
  start(): Promise<void> {
    return this.#link.start()
  }

  stop(): Promise<void> {
    return this.#link.stop()
  }

  /** `leaves`: the last call of a daemon that has a share to go on with, and will not. */
  async decide(demand: Demand, options: { leaves?: boolean } = {}): Promise<readonly Grant[]> {
    const compiled = this.#questions.decide(demand, options)
    return this.#questions.grantsOf(demand, compiled, await this.#decide(compiled))
  }

  /** For the next calls: whether this daemon has used its share, and what it has used of quotas, since Redis was last asked. */
  tellReturned(returned: boolean, owed: ReadonlyMap<string, number> = new Map()): void {
    this.#questions.returned = returned
    for (const [level, units] of owed) this.#questions.owe(level, units)
  }

  /** Units of a quota that were used when Redis was last asked. */
  usedOf(level: string): number {
    return this.#questions.usedOf(level)
  }

  async learn(target: LimitTarget, advice: Advice): Promise<void> {
    await this.#ask(this.#questions.learn(target, advice))
  }

  /** Lifts the block of an endpoint, or of the platform itself, and restores its whole limit. */
  async forgive(target: LimitTarget): Promise<void> {
    await this.#ask(this.#questions.forgive(target))
  }

  async levels(platform: string): Promise<readonly LevelState[]> {
    const question = this.#questions.levels(platform)
    // The script's own shape: seven whole numbers for each level.
    const rows = (await this.#ask(question)) as [number, number, number, number, number, number, number][]
    const readings = rows.map(
      ([remaining, blockedUntilUs, factor, endsUs, granted, spanUs, waiting]): LevelReading => ({
        remaining,
        blockedUntilUs,
        factor,
        endsUs,
        granted,
        spanUs,
        waiting,
      }),
    )
    return this.#questions.levelsOf(question, readings)
  }

  /** Refused: a grant counts whether it is used or not, and only decisions are made here. */
  override async reward(): Promise<RateLimiterRes> {
    throw unsupported('reward')
  }

  override async set(): Promise<RateLimiterRes> {
    throw unsupported('set')
  }

  /** rate-limiter-flexible's store operation, behind `consume` and `block`: one call decides every level. */
  async _upsert(key: string, points: number, durationMs: number, forceExpire = false): Promise<Consumed> {
    const target = this.#target(key)
    if (forceExpire) {
      await this.learn(target, { blockMs: durationMs })
      return { granted: false, remaining: 0, waitMs: durationMs }
    }
    return this.#consume(target, points, 1)
  }

  /** Behind `penalty`: units are gone on every level, whether it had them or not. */
  async _penalty(key: string, points = 1): Promise<RateLimiterRes> {
    const target = this.#target(this.getKey(key))
    // The script's own shape.
    const [remaining, waitUs] = (await this.#ask(this.#questions.charge(target, points))) as [number, number]
    return new RateLimiterRes(remaining, Math.ceil(waitUs / 1000), points, false)
  }

  /** The state of an endpoint without taking anything. */
  async _get(key: string): Promise<Consumed> {
    return this.#consume(this.#target(key), 1, 0)
  }

  async _delete(key: string): Promise<boolean> {
    await this.forgive(this.#target(key))
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

  async #consume(target: Target, points: number, count: number): Promise<Consumed> {
    const want = { endpoint: target.endpoint, count, cost: points }
    const demand = { requestId: randomUUID(), platform: target.platform, wants: [want], acks: [] }
    const [verdict] = await this.#decide(this.#questions.decide(demand, { everywhere: true }))
    const { granted = 0, remaining = 0, waitUs = 0 } = verdict ?? {}
    return { granted: granted === count, remaining, waitMs: Math.ceil(waitUs / 1000) }
  }

  async #decide({ question }: Compiled): Promise<readonly Verdict[]> {
    const stopTimer = this.#metrics.limiter_call_duration_seconds.startTimer()
    let outcome = 'error'
    try {
      // The script's own shape: whether it began anew, five whole numbers for each want, three for each quota,
      // whether it knows us, and when that was.
      const [cold, verdicts, quotas, isMember, nowUs] = (await this.#ask(question)) as [
        number,
        [number, number, number, number, number][],
        [number, number, number][],
        number,
        number,
      ]
      outcome = 'ok'
      this.#isMember = isMember === 1
      if (cold === 1) this.#tellColdStart()
      this.#questions.saw(
        question,
        quotas.map(([level, endsUs, used]): QuotaReading => ({ level, endsUs, used })),
        nowUs,
      )
      return verdicts.map(([granted, waitUs, level, remaining, tight]) => ({
        granted,
        waitUs,
        level,
        remaining,
        tight,
      }))
    } finally {
      stopTimer()
      this.#metrics.limiter_calls_total.inc({ outcome })
    }
  }

  #ask(question: Question): Promise<unknown> {
    const keys = [`${this.#prefix}:levels`, `${this.#prefix}:queues`]
    if (question.op === 'decide') keys.push(`${this.#prefix}:answer:${question.platform}:${question.id}`)
    return this.#link.run(() => this.#client.millraceDecide(keys.length, ...keys, JSON.stringify(question)))
  }

  /** `{prefix}:platform/endpoint`, the library's key, taken apart. */
  #target(key: string): Target {
    const name = key.slice(this.#prefix.length + 1)
    const slash = name.indexOf('/')
    if (slash < 1) {
      throw new MillraceError(
        'LIMIT_DEMAND',
        `The key "${name}" names no endpoint: expected platform/endpoint.`,
        { kind: 'usage' },
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

interface Target {
  readonly platform: string
  readonly endpoint: string
}

function unsupported(what: string): MillraceError {
  return new MillraceError(
    'LIMITER_UNSUPPORTED',
    `The stacked limiter does not ${what}: what it grants, it has granted.`,
  )
}
