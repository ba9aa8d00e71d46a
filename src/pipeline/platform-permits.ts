import { randomUUID } from 'node:crypto'
import { messageOf } from '../job/errors.ts'
import { type Grant, type Limiter, Permit, type Want } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { Arrivals } from './arrivals.ts'
import { type CredentialChoice, isOwnLevel, type Share } from './credential-choice.ts'
import { Lane } from './lane.ts'
import { Patience, tick } from './patience.ts'
import { expired, type Waiter } from './waiter.ts'

export interface PlatformPermitsOptions {
  /** A grant is dropped when it cannot be used within this time of having been asked for. */
  readonly useWithinMs: number
  /** Free sockets of the platform's origin: how many permits could be used at once now. */
  readonly room: () => number
  /** Undefined: there is one credential, without a name. */
  readonly credentials: CredentialChoice | undefined
  /** Calls at the limiter are at least this far apart, so that a queue is served by few of them. */
  readonly gapMs: number
  /** After this long the limiter takes a grant for used, whatever has become of it. */
  readonly grantTimeoutMs: number
}

export interface PlatformPermitsParts {
  readonly limiter: Limiter
  readonly metrics: Metrics
  readonly log: Log
}

/** Calls of an endpoint that may be made with any credential, or with one of them only. */
interface Queue {
  readonly endpoint: string
  readonly credential: string | undefined
  readonly lane: Lane<Waiter>
  /** On performance.now(): asking earlier would be denied again. */
  deniedUntilMs: number
  /** It was denied by a level of its own, its window. */
  isAlone: boolean
  /** How much later than need be the limiter may be told of it. */
  gatherMs: number
}

const NO_ROOM_MS = 250
/** However long the wait: a block may be lifted, and a quota may take longer than a timer can run (24.8 days). */
const ASK_AGAIN_MS = 60_000
/** Of one endpoint, in one call. */
const COUNT_MAX = 10_000
const LIMITER_RETRY_MAX_MS = 2_000
/** Nothing is lost by telling the limiter late of arrivals at an endpoint that it has not held back. */
const RELAXED_MS = 2_000

/**
 * The permits of one platform: a queue for each endpoint, one timer, and at most one call to the limiter under way. One call
 * asks for what can be sent at once and takes the acknowledgements along. While the limiter is away everything waits.
 */
export class PlatformPermits {
  readonly #name: string
  readonly #options: PlatformPermitsOptions
  readonly #parts: PlatformPermitsParts
  readonly #queues = new Map<string, Queue>()
  readonly #arrivals: Arrivals
  readonly #patience = new Patience()
  #calling = false
  /** Granted and not yet sent: they take up room although no socket is busy yet. */
  #granted = 0
  #lastCallMs = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #failures = 0
  #pausedBecause: string | undefined

  constructor(name: string, options: PlatformPermitsOptions, parts: PlatformPermitsParts) {
    this.#name = name
    this.#options = options
    this.#parts = parts
    this.#arrivals = new Arrivals(options.grantTimeoutMs)
  }

  push(waiter: Waiter): void {
    const { endpoint, credential } = waiter
    const key = keyOf(endpoint, credential)
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      queue = {
        endpoint,
        credential,
        lane: new Lane(),
        deniedUntilMs: 0,
        isAlone: false,
        gatherMs: RELAXED_MS,
      }
      this.#queues.set(key, queue)
    }
    queue.lane.push(waiter)
    this.#parts.metrics.jobs_queued.inc({ platform: this.#name, endpoint })
    this.wake()
  }

  arrived(permit: Permit): void {
    this.#arrivals.arrived(permit)
    this.#scheduleAcks(this.#queues.get(keyOf(permit.endpoint, undefined)))
  }

  sent(): void {
    this.#granted--
  }

  get pausedBecause(): string | undefined {
    return this.#pausedBecause
  }

  pause(because: string): void {
    this.#pausedBecause ??= because
  }

  resume(): void {
    this.#pausedBecause = undefined
    this.wake()
  }

  /** Calls that wait, by endpoint. */
  queued(): Record<string, number> {
    const queued: Record<string, number> = {}
    for (const { endpoint, lane } of this.#queues.values())
      queued[endpoint] = (queued[endpoint] ?? 0) + lane.size
    return queued
  }

  /** Asks as soon as an answer other than the last denial is possible. */
  wake(): void {
    if (this.#calling || this.#pausedBecause !== undefined) return
    let atMs = Number.POSITIVE_INFINITY
    for (const queue of this.#queues.values()) {
      if (queue.lane.size > 0) atMs = Math.min(atMs, this.#askableAtMs(queue))
    }
    if (atMs !== Number.POSITIVE_INFINITY)
      this.#schedule(Math.max(atMs, this.#lastCallMs + this.#options.gapMs))
  }

  /** Refuses every waiter that matches. */
  refuse(matches: (waiter: Waiter) => boolean, reason: () => unknown): void {
    for (const { endpoint, lane } of this.#queues.values()) {
      for (const waiter of lane.remove(matches)) {
        this.#parts.metrics.jobs_queued.dec({ platform: this.#name, endpoint })
        waiter.reject(reason())
      }
    }
  }

  /** Sends the last acknowledgements. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#pausedBecause ??= 'the daemon is stopping'
    const { limiter } = this.#parts
    const acks = this.#arrivals.acks()
    if (acks.length === 0 || !limiter.healthy) return
    const demand = { requestId: randomUUID(), platform: this.#name, wants: [], acks }
    // Grants that nobody acknowledges only count for longer than they need to: nothing to repair when this fails.
    await limiter.decide(demand).catch(() => [])
  }

  #schedule(atMs: number): void {
    if (this.#calling || atMs >= this.#timerAtMs) return
    clearTimeout(this.#timer)
    this.#timerAtMs = atMs
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#timerAtMs = Number.POSITIVE_INFINITY
        this.#call()
      },
      Math.max(0, Math.ceil(atMs - performance.now())),
    )
  }

  #call(): void {
    if (this.#calling) return
    const askedAtMs = performance.now()
    this.#dropExpired()
    const room = this.#options.room() - this.#granted
    const { asking, wants } = this.#wants(askedAtMs, room)
    const acks = this.#arrivals.acks()
    if (wants.length === 0 && acks.length === 0) {
      // No socket is free, or the origin's breaker is open: then nobody tells when the next probe is due.
      if (this.#isAwaited(askedAtMs)) this.#schedule(askedAtMs + NO_ROOM_MS)
      // Timers may fire a fraction of a millisecond early, when the denial still holds.
      else this.wake()
      return
    }
    const demand = {
      requestId: randomUUID(),
      platform: this.#name,
      wants,
      acks,
      permitsMax: Math.max(0, room),
    }
    this.#calling = true
    this.#lastCallMs = askedAtMs
    this.#parts.limiter.decide(demand).then(
      (grants) => {
        this.#calling = false
        this.#failures = 0
        this.#arrivals.confirm(acks)
        this.#handOut(asking, wants, grants, askedAtMs)
        for (const { endpoint } of this.#arrivals.acks()) {
          this.#scheduleAcks(this.#queues.get(keyOf(endpoint, undefined)))
        }
        this.wake()
      },
      (error: unknown) => this.#failed(error),
    )
  }

  /** Nobody knows whether it was counted. Its acknowledgements are sent again; what it was granted counts until its time-out. */
  #failed(error: unknown): void {
    this.#calling = false
    if (this.#failures === 0) {
      const platform = this.#name
      this.#parts.log.warn(
        { platform, error: messageOf(error) },
        'the limiter does not answer: fetching waits',
      )
    }
    this.#schedule(performance.now() + Math.min(LIMITER_RETRY_MAX_MS, 50 * 2 ** this.#failures++))
  }

  /** Only the heads, which is whom the next grants would go to; the desk's sweep finds the others. */
  #dropExpired(): void {
    const nowMs = Date.now()
    for (const { endpoint, lane } of this.#queues.values()) {
      for (let head = lane.peek(); head !== undefined && head.expiresAtMs <= nowMs; head = lane.peek()) {
        lane.shift()
        this.#parts.metrics.jobs_queued.dec({ platform: this.#name, endpoint })
        head.reject(expired())
      }
    }
  }

  #isAwaited(nowMs: number): boolean {
    if (this.#pausedBecause !== undefined) return false
    for (const queue of this.#queues.values()) {
      if (queue.lane.size > 0 && this.#askableAtMs(queue) <= nowMs) return true
    }
    return false
  }

  /**
   * What waits and may be asked for: once a lane is due, all but those that their own windows hold back. What is shared is handed out
   * in turns among those that ask, and who asked less often than the others would go short. The limiter shares the sockets among
   * them, too.
   */
  #wants(
    nowMs: number,
    room: number,
  ): { readonly asking: readonly Queue[]; readonly wants: readonly Want[] } {
    const asking: Queue[] = []
    const wants: Want[] = []
    if (room <= 0 || !this.#isAwaited(nowMs)) return { asking, wants }
    for (const queue of this.#queues.values()) {
      const { endpoint, lane, deniedUntilMs, isAlone } = queue
      const cost = lane.peek()?.cost
      if (cost === undefined || (isAlone && deniedUntilMs > nowMs)) continue
      const shares = this.#sharesOf(queue, Math.min(lane.size, room, COUNT_MAX), nowMs)
      for (const { name, count } of shares) {
        asking.push(queue)
        const waiting = shares.length === 1 ? lane.size : count
        wants.push({ endpoint, credential: name, count, cost, waiting })
      }
    }
    return { asking, wants }
  }

  #sharesOf({ credential }: Queue, count: number, nowMs: number): readonly Share[] {
    const { credentials } = this.#options
    if (credentials === undefined || credential !== undefined) return [{ name: credential, count }]
    return credentials.share(count, nowMs)
  }

  #handOut(
    asking: readonly Queue[],
    wants: readonly Want[],
    grants: readonly Grant[],
    askedAtMs: number,
  ): void {
    const { metrics } = this.#parts
    const nowMs = performance.now()
    const deadlineMs = askedAtMs + this.#options.useWithinMs
    if (wants.length > 0) this.#patience.learn(grants.reduce((sum, { granted }) => sum + granted, 0))
    for (const [index, grant] of grants.entries()) {
      const queue = asking[index]
      const want = wants[index]
      if (want === undefined || queue === undefined) continue
      const { credential } = want
      const labels = { platform: this.#name, endpoint: grant.endpoint }
      if (grant.granted > 0) {
        metrics.permits_granted_total.inc(labels, grant.granted)
        this.#arrivals.granted(grant, want, nowMs)
        if (credential !== undefined) this.#options.credentials?.granted(credential, grant.granted)
      }
      queue.gatherMs = grant.gatherMs
      const ofCredential = credential !== undefined && isOwnLevel(grant.level, credential)
      queue.isAlone =
        grant.level?.startsWith('endpoint:') === true || (ofCredential && queue.credential !== undefined)
      if (grant.level !== null) {
        const untilMs = this.#patience.askAt(nowMs + Math.min(grant.waitMs, ASK_AGAIN_MS), grant.gatherMs)
        // Another one may have room at once.
        if (ofCredential && queue.credential === undefined)
          this.#options.credentials?.holdBack(credential, untilMs)
        else queue.deniedUntilMs = untilMs
        // Without the names in it: the labels beside it say them.
        const level = grant.level.split(':', 1)[0]!
        metrics.permits_denied_total.inc({ ...labels, level })
      }
      for (let i = 0; i < grant.granted; i++) {
        const waiter = nowMs <= deadlineMs ? queue.lane.shift() : undefined
        if (waiter === undefined) {
          // Too late, or nobody waits any more. It was charged and will not be used: the limiter may forget it.
          this.#arrivals.arrived(grant)
          metrics.permits_dropped_total.inc({ platform: this.#name })
          continue
        }
        metrics.jobs_queued.dec(labels)
        metrics.permit_wait_seconds.observe(labels, (nowMs - waiter.queuedAtMs) / 1000)
        this.#granted++
        const { endpoint } = grant
        waiter.resolve(
          new Permit({ platform: this.#name, endpoint, credential, grant: grant.grant, deadlineMs }),
        )
      }
    }
  }

  /** Acknowledgements ride on the next call that asks for permits; when there is none soon enough they go alone. */
  #scheduleAcks(queue: Queue | undefined): void {
    this.#schedule(tick(performance.now(), queue?.gatherMs ?? RELAXED_MS))
  }

  /** When the limiter may have another answer for a queue than the last time. */
  #askableAtMs({ credential, deniedUntilMs }: Queue): number {
    if (credential !== undefined) return deniedUntilMs
    return Math.max(deniedUntilMs, this.#options.credentials?.usableAtMs ?? 0)
  }
}

function keyOf(endpoint: string, credential: string | undefined): string {
  return credential === undefined ? endpoint : `${endpoint}@${credential}`
}
