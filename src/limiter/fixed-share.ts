import { randomUUID } from 'node:crypto'
import { ServiceAwayError } from '../job/errors.ts'
import type { Advice, Demand, Grant, LevelState, Limiter, LimitTarget } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { MemoryLimiter } from './memory-limiter.ts'
import { type LimitPlan, quotaLevel, settlingMs, sharePlan } from './plan.ts'
import { checkPlan } from './plan-check.ts'
import type { MembershipOptions } from './questions.ts'
import type { StackedLimiter } from './stacked-limiter.ts'

/** What it needs of the limits in Redis. */
export type SharedLimiter = Pick<
  StackedLimiter,
  'decide' | 'learn' | 'levels' | 'healthy' | 'isMember' | 'tellReturned' | 'usedOf' | 'start' | 'stop'
>

export interface FixedShareOptions {
  readonly plan: LimitPlan
  /** Made with the `membershipOf` the same plan and number of daemons. */
  readonly shared: SharedLimiter
  readonly membership: MembershipOptions
  readonly metrics: Metrics
  readonly log: Log
  /** Unix ms by a clock that is never set. */
  readonly nowMs?: () => number
}

const GRACE_MS = 10_000
const LEASE_MS_MIN = 900_000

/** How daemons that share a plan know of each other: whoever is silent for the grace time may use its share until the lease ends. */
export function membershipOf(plan: LimitPlan, daemonsMax: number): MembershipOptions {
  const leaseMs = Math.max(LEASE_MS_MIN, 4 * settlingMs(plan) + GRACE_MS)
  return { daemonsMax, graceMs: GRACE_MS, leaseMs }
}

/** How long a daemon that hears nothing of Redis waits before it goes on with its share: then everybody else leaves it, see membership. */
export function silenceMs(plan: LimitPlan, { graceMs }: MembershipOptions): number {
  return 1.5 * graceMs + settlingMs(plan)
}

/**
 * The shared limits, and while Redis is away a fixed share of them: every limit ÷ the most daemons there are, rounded down. No limit
 * is exceeded, also when the others still have Redis: they leave this daemon its share, see membership.
 *
 * States: shared → (Redis away) waiting → (`silenceMs` after Redis was last heard) alone → (the lease is nearly over)
 * waiting; from both back to shared with the first answer of Redis. What has been used of a calendar quota meanwhile is told to
 * Redis then; a share of a quota is a share of what was left of it.
 */
export class FixedShare implements Limiter {
  readonly #plan: LimitPlan
  readonly #shared: SharedLimiter
  readonly #membership: MembershipOptions
  readonly #settleMs: number
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #nowMs: () => number
  /** When the last call that was answered was made, and when its answer came. */
  #saidMs = Number.NEGATIVE_INFINITY
  #heardMs = Number.POSITIVE_INFINITY
  #alone: MemoryLimiter | undefined
  #beat: NodeJS.Timeout | undefined

  /** Throws MillraceError `LIMIT_PLAN` when a limit has nothing left after it is divided. */
  constructor(options: FixedShareOptions) {
    const { plan, shared, membership } = options
    checkPlan(sharePlan(plan, 1 / membership.daemonsMax))
    this.#plan = plan
    this.#shared = shared
    this.#membership = membership
    this.#settleMs = settlingMs(plan)
    this.#metrics = options.metrics
    this.#log = options.log
    this.#nowMs = options.nowMs ?? (() => performance.timeOrigin + performance.now())
  }

  get healthy(): boolean {
    return this.#shared.healthy || this.#mayGoAlone()
  }

  async start(): Promise<void> {
    await this.#shared.start()
    await this.#touch()
    // Who is idle must be heard too, or its share is kept back for it.
    this.#beat ??= setInterval(() => this.#touch().catch(() => {}), this.#membership.graceMs / 4).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#beat)
    this.#beat = undefined
    const leaving = this.#shared.healthy
      ? this.#shared.decide(this.#nothing(), { leaves: this.#alone === undefined })
      : undefined
    // Otherwise its share is kept back until the lease ends.
    await leaving?.catch(() => {})
    await this.#shared.stop()
  }

  async decide(demand: Demand): Promise<readonly Grant[]> {
    return this.#either(
      () => this.#ask(demand),
      (alone) => alone.decide(demand),
    )
  }

  async learn(target: LimitTarget, advice: Advice): Promise<void> {
    return this.#either(
      () => this.#shared.learn(target, advice),
      (alone) => alone.learn(target, advice),
    )
  }

  async levels(platform: string): Promise<readonly LevelState[]> {
    return this.#either(
      () => this.#shared.levels(platform),
      (alone) => alone.levels(platform),
    )
  }

  async #either<T>(shared: () => Promise<T>, alone: (limiter: MemoryLimiter) => Promise<T>): Promise<T> {
    try {
      return await shared()
    } catch (error) {
      if (!(error instanceof ServiceAwayError) || !this.#mayGoAlone()) throw error
      this.#alone ??= await this.#goAlone()
      return alone(this.#alone)
    }
  }

  async #ask(demand: Demand): Promise<readonly Grant[]> {
    const saidMs = this.#nowMs()
    const returning = this.#alone
    if (returning !== undefined) this.#shared.tellReturned(true)
    const grants = await this.#shared.decide(demand)
    this.#saidMs = saidMs
    this.#heardMs = this.#nowMs()
    if (returning !== undefined && this.#alone === returning) {
      this.#alone = undefined
      this.#shared.tellReturned(false, await this.#usedAlone(returning))
      this.#log.info('limiter: Redis is back, the limits are shared again')
    }
    return grants
  }

  async #touch(): Promise<void> {
    if (this.#shared.healthy && this.#nowMs() - this.#saidMs > this.#membership.graceMs / 4)
      await this.#ask(this.#nothing())
  }

  #nothing(): Demand {
    const [platform = 'any'] = Object.keys(this.#plan.platforms)
    return { requestId: randomUUID(), platform, wants: [], acks: [] }
  }

  /** Not before everybody else has left our share for one settling time, and not when it might be given to others. */
  #mayGoAlone(): boolean {
    const { leaseMs } = this.#membership
    const nowMs = this.#nowMs()
    return (
      this.#shared.isMember &&
      nowMs >= this.#heardMs + silenceMs(this.#plan, this.#membership) &&
      nowMs <= this.#saidMs + leaseMs - this.#settleMs
    )
  }

  async #goAlone(): Promise<MemoryLimiter> {
    const { daemonsMax } = this.#membership
    const share = sharePlan(this.#plan, 1 / daemonsMax)
    const quotas: Record<string, NonNullable<LimitPlan['quotas']>[string]> = {}
    const spent: string[] = []
    for (const [platform, quota] of Object.entries(this.#plan.quotas ?? {})) {
      const used = this.#shared.usedOf(quotaLevel(platform, quota.per === 'platform' ? undefined : 'main'))
      const limit = Math.floor((quota.limit - used) / daemonsMax)
      quotas[platform] = { ...quota, limit: Math.max(1, limit) }
      if (limit < 1) spent.push(platform)
    }
    // Everybody has left this share for one settling time: its buckets are full and its windows empty.
    const alone = new MemoryLimiter({
      plan: { ...share, quotas },
      coldStart: 'full',
      metrics: this.#metrics,
      nowMs: this.#nowMs,
    })
    for (const platform of spent) await alone.learn({ platform }, { blockMs: this.#membership.leaseMs })
    this.#log.warn(
      { share: `1/${daemonsMax}` },
      'limiter: Redis is away, going on with a fixed share of the limits',
    )
    return alone
  }

  /** Units by quota level. */
  async #usedAlone(alone: MemoryLimiter): Promise<ReadonlyMap<string, number>> {
    const used = new Map<string, number>()
    for (const platform of Object.keys(this.#plan.quotas ?? {})) {
      for (const { level, kind, capacity, remaining } of await alone.levels(platform))
        if (kind === 'quota') used.set(level, capacity - remaining)
    }
    return used
  }
}
