import { randomUUID } from 'node:crypto'
import { AttemptError, messageOf } from '../job/errors.ts'
import { type Ack, type Grant, type Limiter, Permit, type Want } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { Lane, type LaneEntry } from './lane.ts'

export interface PlatformPermitsOptions {
  /** A grant is dropped when it cannot be used within this time of having been asked for. */
  readonly useWithinMs: number
  /** Free sockets of the platform's origin: how many permits could be used at once now. */
  readonly room: () => number
  /** Calls at the limiter are at least this far apart, so that a queue is served by few of them. */
  readonly gapMs: number
}

export interface PlatformPermitsParts {
  readonly limiter: Limiter
  readonly metrics: Metrics
  readonly log: Log
}

/** A call that waits for its permit. */
export interface Waiter extends LaneEntry {
  readonly endpoint: string
  readonly cost: number
  /** Unix ms; a job that waits past it is given up. */
  readonly expiresAtMs: number
  readonly signal: AbortSignal
  /** True when requests have been sent for its job already: giving it up would waste them. */
  readonly begun: boolean
  readonly queuedAtMs: number
  readonly resolve: (permit: Permit) => void
  readonly reject: (error: unknown) => void
}

interface EndpointState {
  readonly lane: Lane<Waiter>
  /** On performance.now(): asking earlier would be denied again. */
  deniedUntilMs: number
}

/** A call that failed, so that nobody knows whether its acknowledgements were counted. */
interface Unsure {
  readonly requestId: string
  readonly acks: readonly Ack[]
  readonly sinceMs: number
}

/** Acknowledgements ride on the next call; when nobody waits they go alone after this long. */
const ACK_DELAY_MS = 100
const NO_ROOM_MS = 250
const LIMITER_RETRY_MAX_MS = 2_000
/** The limiter remembers the ids of calls for a minute: within it the same call may be sent again. */
const REMEMBERED_MS = 55_000
/** After a denial by a bucket, permits gather for this long and cost nothing by it; by a window each moment costs capacity. */
const BUCKET_GAP_MS = 200
const WINDOW_GAP_MS = 50

/**
 * The permits of one platform: a lane for each endpoint, one timer, and at most one call to the limiter under way. One call
 * asks for what can be sent at once and takes the acknowledgements along. While the limiter is away everything waits.
 */
export class PlatformPermits {
  readonly #name: string
  readonly #options: PlatformPermitsOptions
  readonly #parts: PlatformPermitsParts
  readonly #endpoints = new Map<string, EndpointState>()
  #acks: Ack[] = []
  #unsure: Unsure | undefined
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
  }

  push(waiter: Waiter): void {
    let state = this.#endpoints.get(waiter.endpoint)
    if (state === undefined) {
      state = { lane: new Lane(), deniedUntilMs: 0 }
      this.#endpoints.set(waiter.endpoint, state)
    }
    state.lane.push(waiter)
    this.#parts.metrics.jobs_queued.inc({ platform: this.#name, endpoint: waiter.endpoint })
    this.wake()
  }

  arrived(permit: Permit): void {
    this.#acks.push({ endpoint: permit.endpoint, grant: permit.grant, units: permit.cost })
    this.#schedule(performance.now() + ACK_DELAY_MS)
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
    return Object.fromEntries([...this.#endpoints].map(([endpoint, { lane }]) => [endpoint, lane.size]))
  }

  /** Asks as soon as an answer other than the last denial is possible. */
  wake(): void {
    if (this.#calling || this.#pausedBecause !== undefined) return
    let atMs = Number.POSITIVE_INFINITY
    for (const { lane, deniedUntilMs } of this.#endpoints.values()) {
      if (lane.size > 0) atMs = Math.min(atMs, deniedUntilMs)
    }
    if (atMs !== Number.POSITIVE_INFINITY)
      this.#schedule(Math.max(atMs, this.#lastCallMs + this.#options.gapMs))
  }

  /** Refuses every waiter that matches. */
  refuse(matches: (waiter: Waiter) => boolean, reason: () => unknown): void {
    for (const [endpoint, { lane }] of this.#endpoints) {
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
    if (this.#acks.length === 0 || !limiter.healthy) return
    const demand = { requestId: randomUUID(), platform: this.#name, wants: [], acks: this.#acks }
    this.#acks = []
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
    const unsure = this.#unsure
    // First the call that failed, word for word: its acknowledgements name units of a grant, so the same ones under a new id
    // could free the slot of another request that is still on its way.
    const wants = unsure === undefined ? this.#wants(askedAtMs) : []
    const acks = unsure === undefined ? this.#acks : unsure.acks
    if (wants.length === 0 && acks.length === 0) {
      // No socket is free, or the origin's breaker is open: then nobody tells when the next probe is due.
      if (this.#isAwaited(askedAtMs)) this.#schedule(askedAtMs + NO_ROOM_MS)
      // Timers may fire a fraction of a millisecond early, when the denial still holds.
      else this.wake()
      return
    }
    const requestId = unsure?.requestId ?? randomUUID()
    if (unsure === undefined) this.#acks = []
    this.#calling = true
    this.#lastCallMs = askedAtMs
    this.#parts.limiter.decide({ requestId, platform: this.#name, wants, acks }).then(
      (grants) => {
        this.#calling = false
        this.#failures = 0
        this.#unsure = undefined
        this.#handOut(wants, grants, askedAtMs)
        if (this.#acks.length > 0) this.#schedule(performance.now() + ACK_DELAY_MS)
        this.wake()
      },
      (error: unknown) => this.#failed(error, { requestId, acks, sinceMs: unsure?.sinceMs ?? askedAtMs }),
    )
  }

  #failed(error: unknown, call: Unsure): void {
    this.#calling = false
    // Grants that nobody acknowledges only count for longer than they need to.
    const isForgotten = performance.now() - call.sinceMs > REMEMBERED_MS
    this.#unsure = call.acks.length === 0 || isForgotten ? undefined : call
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
    for (const [endpoint, { lane }] of this.#endpoints) {
      for (let head = lane.peek(); head !== undefined && head.expiresAtMs <= nowMs; head = lane.peek()) {
        lane.shift()
        this.#parts.metrics.jobs_queued.dec({ platform: this.#name, endpoint })
        head.reject(expired())
      }
    }
  }

  #isAwaited(nowMs: number): boolean {
    if (this.#pausedBecause !== undefined) return false
    for (const { lane, deniedUntilMs } of this.#endpoints.values()) {
      if (lane.size > 0 && deniedUntilMs <= nowMs) return true
    }
    return false
  }

  /** What waits and may be asked for; when sockets are fewer than calls, every endpoint gets an equal part of them. */
  #wants(nowMs: number): Want[] {
    if (this.#pausedBecause !== undefined) return []
    let room = this.#options.room() - this.#granted
    const waiting = [...this.#endpoints]
      .filter(([, { lane, deniedUntilMs }]) => lane.size > 0 && deniedUntilMs <= nowMs)
      .sort(([, a], [, b]) => a.lane.size - b.lane.size)
    const wants: Want[] = []
    for (const [index, [endpoint, { lane }]] of waiting.entries()) {
      // Shortest lane first: what it leaves of its part goes to the longer ones (max-min).
      const count = Math.min(lane.size, Math.ceil(room / (waiting.length - index)))
      if (count <= 0) break
      room -= count
      wants.push({ endpoint, count, cost: lane.peek()?.cost ?? 1 })
    }
    return wants
  }

  #handOut(wants: readonly Want[], grants: readonly Grant[], askedAtMs: number): void {
    const { metrics } = this.#parts
    const nowMs = performance.now()
    const deadlineMs = askedAtMs + this.#options.useWithinMs
    for (const [index, grant] of grants.entries()) {
      const want = wants[index]
      const state = this.#endpoints.get(grant.endpoint)
      if (want === undefined || state === undefined) continue
      const labels = { platform: this.#name, endpoint: grant.endpoint }
      if (grant.granted > 0) metrics.permits_granted_total.inc(labels, grant.granted)
      if (grant.granted < want.count) {
        const gapMs = grant.level?.startsWith('endpoint:') === true ? WINDOW_GAP_MS : BUCKET_GAP_MS
        state.deniedUntilMs = nowMs + Math.max(grant.waitMs, gapMs)
        // Without the names in it: the labels beside it say them.
        const level = grant.level?.split(':')[0]
        if (level !== undefined) metrics.permits_denied_total.inc({ ...labels, level })
      }
      for (let i = 0; i < grant.granted; i++) {
        const waiter = nowMs <= deadlineMs ? state.lane.shift() : undefined
        if (waiter === undefined) {
          // Too late, or nobody waits any more. It was charged and will not be used: the limiter may forget it.
          this.#acks.push({ endpoint: grant.endpoint, grant: grant.grant, units: want.cost })
          metrics.permits_dropped_total.inc({ platform: this.#name })
          continue
        }
        metrics.jobs_queued.dec(labels)
        metrics.permit_wait_seconds.observe(labels, (nowMs - waiter.queuedAtMs) / 1000)
        this.#granted++
        const { endpoint } = grant
        waiter.resolve(
          new Permit({ platform: this.#name, endpoint, cost: want.cost, grant: grant.grant, deadlineMs }),
        )
      }
    }
  }
}

export function expired(): AttemptError {
  return new AttemptError('expired', 'expires_at passed while the job waited for a permit')
}
