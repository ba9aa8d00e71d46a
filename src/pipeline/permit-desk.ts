import { randomUUID } from 'node:crypto'
import { AttemptError, messageOf } from '../job/errors.ts'
import { type Ack, type Grant, type Limiter, Permit, type Want } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { Lane, type LaneEntry } from './lane.ts'

export interface PermitDeskOptions {
  /** A grant is dropped when it cannot be used within this time of having been asked for. */
  readonly useWithinMs: number
  /** Free sockets of a platform's origin: how many permits could be used at once now. */
  readonly room: (platform: string) => number
  /** Calls of one platform at the limiter are at least this far apart, so that a queue is served by few of them. */
  readonly gapMs?: number
}

export interface PermitRequest {
  readonly platform: string
  readonly endpoint: string
  readonly cost: number
  readonly priority: number
  /** When the job was taken in, Unix ms. */
  readonly sinceMs: number
  /** Unix ms; a job that waits past it is given up. */
  readonly expiresAtMs: number
  readonly signal: AbortSignal
}

interface Waiter extends PermitRequest, LaneEntry {
  readonly queuedAtMs: number
  readonly resolve: (permit: Permit) => void
  readonly reject: (error: unknown) => void
}

interface EndpointState {
  readonly lane: Lane<Waiter>
  /** On performance.now(): asking earlier would be denied again. */
  deniedUntilMs: number
}

interface PlatformState {
  readonly name: string
  readonly endpoints: Map<string, EndpointState>
  acks: Ack[]
  /** A call that failed, so that nobody knows whether its acknowledgements were counted. */
  unsure: { readonly requestId: string; readonly acks: readonly Ack[]; readonly sinceMs: number } | undefined
  calling: boolean
  /** Granted and not yet sent: they take up room although no socket is busy yet. */
  granted: number
  lastCallMs: number
  timer: NodeJS.Timeout | undefined
  timerAtMs: number
  failures: number
  /** Why nothing is asked for, or undefined. */
  pausedBecause: string | undefined
}

const GAP_MS = 20
/** Acknowledgements ride on the next call; when nobody waits they go alone after this long. */
const ACK_DELAY_MS = 100
const SWEEP_MS = 5_000
const NO_ROOM_MS = 250
const LIMITER_RETRY_MAX_MS = 2_000
/** The limiter remembers the ids of calls for a minute: within it the same call may be sent again. */
const REMEMBERED_MS = 55_000
/** After a denial by a bucket, permits gather for this long and cost nothing by it; by a window each moment costs capacity. */
const BUCKET_GAP_MS = 200
const WINDOW_GAP_MS = 50

/**
 * Where calls wait for their permits: a lane for each endpoint, one timer and at most one call to the limiter under way
 * for each platform. One call asks for what the whole daemon can send at once, and takes the acknowledgements along.
 * When the limiter is away nothing is granted and everything waits.
 */
export class PermitDesk {
  readonly #limiter: Limiter
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #options: PermitDeskOptions
  readonly #gapMs: number
  readonly #platforms = new Map<string, PlatformState>()
  readonly #signals = new WeakSet<AbortSignal>()
  #sweeper: NodeJS.Timeout | undefined

  constructor(limiter: Limiter, metrics: Metrics, log: Log, options: PermitDeskOptions) {
    this.#limiter = limiter
    this.#metrics = metrics
    this.#log = log
    this.#options = options
    this.#gapMs = options.gapMs ?? GAP_MS
  }

  start(): void {
    this.#sweeper ??= setInterval(() => this.#expire(), SWEEP_MS).unref()
  }

  /** Sends the last acknowledgements. Whoever still waits is refused. */
  async stop(): Promise<void> {
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    for (const platform of this.#platforms.values()) {
      clearTimeout(platform.timer)
      platform.timer = undefined
      for (const state of platform.endpoints.values()) {
        for (const waiter of state.lane.remove(() => true))
          waiter.reject(new Error('the permit desk was stopped'))
      }
      if (platform.acks.length > 0 && this.#limiter.healthy) {
        const demand = { requestId: randomUUID(), platform: platform.name, wants: [], acks: platform.acks }
        platform.acks = []
        // Unacknowledged grants only count longer than they need to: nothing to repair when this fails.
        await this.#limiter.decide(demand).catch(() => [])
      }
    }
  }

  /**
   * Waits for the right to send one request. Use it in the same tick, and tell `arrived` when the upstream has seen it.
   * Rejects with AttemptError `expired`, or with the signal's reason.
   */
  acquire(request: PermitRequest): Promise<Permit> {
    if (request.signal.aborted) return Promise.reject(request.signal.reason)
    this.#watch(request.signal)
    const platform = this.#platform(request.platform)
    let state = platform.endpoints.get(request.endpoint)
    if (state === undefined) {
      state = { lane: new Lane(), deniedUntilMs: 0 }
      platform.endpoints.set(request.endpoint, state)
    }
    const { lane } = state
    return new Promise((resolve, reject) => {
      lane.push({ ...request, queuedAtMs: performance.now(), resolve, reject })
      this.#metrics.jobs_queued.inc({ platform: request.platform, endpoint: request.endpoint })
      this.#wake(platform)
    })
  }

  /** The request under this permit has reached the upstream, or never will. */
  arrived(permit: Permit): void {
    const platform = this.#platform(permit.platform)
    platform.acks.push({ endpoint: permit.endpoint, grant: permit.grant, units: permit.cost })
    this.#schedule(platform, performance.now() + ACK_DELAY_MS)
  }

  /** The permit was handed to the fetch engine (or dropped): from now on the engine counts its socket. */
  sent(permit: Permit): void {
    const platform = this.#platform(permit.platform)
    platform.granted--
  }

  /** A socket became free: there may be room for those who wait. */
  roomMade(name: string): void {
    const platform = this.#platforms.get(name)
    if (platform !== undefined) this.#wake(platform)
  }

  /** Stops asking for permits of a platform; its calls wait. */
  pause(name: string, because: string): void {
    this.#platform(name).pausedBecause ??= because
  }

  resume(name: string): void {
    const platform = this.#platform(name)
    platform.pausedBecause = undefined
    this.#wake(platform)
  }

  /** Paused platforms and why. */
  get paused(): readonly { platform: string; because: string }[] {
    const paused: { platform: string; because: string }[] = []
    for (const { name, pausedBecause } of this.#platforms.values()) {
      if (pausedBecause !== undefined) paused.push({ platform: name, because: pausedBecause })
    }
    return paused
  }

  /** Calls that wait, by platform and endpoint. */
  queued(): Record<string, Record<string, number>> {
    const queued: Record<string, Record<string, number>> = {}
    for (const platform of this.#platforms.values()) {
      queued[platform.name] = Object.fromEntries(
        [...platform.endpoints].map(([endpoint, state]) => [endpoint, state.lane.size]),
      )
    }
    return queued
  }

  #platform(name: string): PlatformState {
    let platform = this.#platforms.get(name)
    if (platform === undefined) {
      platform = {
        name,
        endpoints: new Map(),
        acks: [],
        unsure: undefined,
        calling: false,
        granted: 0,
        lastCallMs: Number.NEGATIVE_INFINITY,
        timer: undefined,
        timerAtMs: Number.POSITIVE_INFINITY,
        failures: 0,
        pausedBecause: undefined,
      }
      this.#platforms.set(name, platform)
    }
    return platform
  }

  /** Somebody waits: ask as soon as an answer other than the last denial is possible. */
  #wake(platform: PlatformState): void {
    if (platform.calling || platform.pausedBecause !== undefined) return
    let atMs = Number.POSITIVE_INFINITY
    for (const state of platform.endpoints.values()) {
      if (state.lane.size > 0) atMs = Math.min(atMs, state.deniedUntilMs)
    }
    if (atMs !== Number.POSITIVE_INFINITY)
      this.#schedule(platform, Math.max(atMs, platform.lastCallMs + this.#gapMs))
  }

  #schedule(platform: PlatformState, atMs: number): void {
    if (platform.calling || atMs >= platform.timerAtMs) return
    clearTimeout(platform.timer)
    platform.timerAtMs = atMs
    platform.timer = setTimeout(
      () => {
        platform.timer = undefined
        platform.timerAtMs = Number.POSITIVE_INFINITY
        this.#call(platform)
      },
      Math.max(0, Math.ceil(atMs - performance.now())),
    )
  }

  #isAwaited(platform: PlatformState, nowMs: number): boolean {
    if (platform.pausedBecause !== undefined) return false
    for (const state of platform.endpoints.values()) {
      if (state.lane.size > 0 && state.deniedUntilMs <= nowMs) return true
    }
    return false
  }

  /** What waits and may be asked for; when sockets are fewer than calls, every endpoint gets an equal part of them. */
  #wants(platform: PlatformState, nowMs: number): Want[] {
    if (platform.pausedBecause !== undefined) return []
    let room = this.#options.room(platform.name) - platform.granted
    const waiting = [...platform.endpoints]
      .filter(([, state]) => state.lane.size > 0 && state.deniedUntilMs <= nowMs)
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

  #call(platform: PlatformState): void {
    if (platform.calling) return
    const askedAtMs = performance.now()
    this.#expireLanes(platform)
    const { unsure } = platform
    // First the call that failed, word for word: its acknowledgements name units of a grant, so the same ones under a new id
    // could free the slot of another request that is still on its way.
    const wants = unsure === undefined ? this.#wants(platform, askedAtMs) : []
    const acks = unsure === undefined ? platform.acks : unsure.acks
    if (wants.length === 0 && acks.length === 0) {
      // No socket is free, or the origin's breaker is open: then nobody tells when the next probe is due.
      if (this.#isAwaited(platform, askedAtMs)) this.#schedule(platform, askedAtMs + NO_ROOM_MS)
      // Timers may fire a fraction of a millisecond early, when the denial still holds.
      else this.#wake(platform)
      return
    }
    const requestId = unsure?.requestId ?? randomUUID()
    if (unsure === undefined) platform.acks = []
    platform.calling = true
    platform.lastCallMs = askedAtMs
    this.#limiter.decide({ requestId, platform: platform.name, wants, acks }).then(
      (grants) => {
        platform.calling = false
        platform.failures = 0
        platform.unsure = undefined
        this.#handOut(platform, wants, grants, askedAtMs)
        if (platform.acks.length > 0) this.#schedule(platform, performance.now() + ACK_DELAY_MS)
        this.#wake(platform)
      },
      (error: unknown) => {
        platform.calling = false
        const sinceMs = unsure?.sinceMs ?? askedAtMs
        // Grants that nobody acknowledges only count for longer than they need to.
        const isForgotten = performance.now() - sinceMs > REMEMBERED_MS
        platform.unsure = acks.length === 0 || isForgotten ? undefined : { requestId, acks, sinceMs }
        const delayMs = Math.min(LIMITER_RETRY_MAX_MS, 50 * 2 ** platform.failures++)
        if (platform.failures === 1) {
          this.#log.warn(
            { platform: platform.name, error: messageOf(error) },
            'the limiter does not answer: fetching waits',
          )
        }
        this.#schedule(platform, performance.now() + delayMs)
      },
    )
  }

  #handOut(
    platform: PlatformState,
    wants: readonly Want[],
    grants: readonly Grant[],
    askedAtMs: number,
  ): void {
    const nowMs = performance.now()
    const deadlineMs = askedAtMs + this.#options.useWithinMs
    for (const [index, grant] of grants.entries()) {
      const want = wants[index]
      const state = platform.endpoints.get(grant.endpoint)
      if (want === undefined || state === undefined) continue
      const labels = { platform: platform.name, endpoint: grant.endpoint }
      if (grant.granted > 0) this.#metrics.permits_granted_total.inc(labels, grant.granted)
      if (grant.granted < want.count) {
        const gapMs = grant.level?.startsWith('endpoint:') === true ? WINDOW_GAP_MS : BUCKET_GAP_MS
        state.deniedUntilMs = nowMs + Math.max(grant.waitMs, gapMs)
        if (grant.level !== null) {
          this.#metrics.permits_denied_total.inc({
            ...labels,
            level: grant.level.split(':')[0] ?? grant.level,
          })
        }
      }
      for (let i = 0; i < grant.granted; i++) {
        const waiter = nowMs <= deadlineMs ? state.lane.shift() : undefined
        if (waiter === undefined) {
          // Too late, or nobody waits any more. It was charged and will not be used: the limiter may forget it.
          platform.acks.push({ endpoint: grant.endpoint, grant: grant.grant, units: want.cost })
          this.#metrics.permits_dropped_total.inc({ platform: platform.name })
          continue
        }
        this.#metrics.jobs_queued.dec(labels)
        this.#metrics.permit_wait_seconds.observe(labels, (nowMs - waiter.queuedAtMs) / 1000)
        platform.granted++
        waiter.resolve(
          new Permit({
            platform: platform.name,
            endpoint: grant.endpoint,
            cost: want.cost,
            grant: grant.grant,
            deadlineMs,
          }),
        )
      }
    }
  }

  // One listener for each signal, not for each waiter: a signal is shared by all jobs of a partition, and an EventTarget takes
  // listeners out of a list by walking it.
  #watch(signal: AbortSignal): void {
    if (this.#signals.has(signal)) return
    this.#signals.add(signal)
    signal.addEventListener(
      'abort',
      () =>
        this.#refuse(
          (waiter) => waiter.signal === signal,
          () => signal.reason,
        ),
      { once: true },
    )
  }

  #expire(): void {
    for (const platform of this.#platforms.values()) {
      const nowMs = Date.now()
      this.#refuseIn(platform, (waiter) => waiter.expiresAtMs <= nowMs, expired)
    }
  }

  /** Only the heads, which is what the next grants would go to; the sweep finds the others. */
  #expireLanes(platform: PlatformState): void {
    const nowMs = Date.now()
    for (const [endpoint, state] of platform.endpoints) {
      for (
        let head = state.lane.peek();
        head !== undefined && head.expiresAtMs <= nowMs;
        head = state.lane.peek()
      ) {
        state.lane.shift()
        this.#metrics.jobs_queued.dec({ platform: platform.name, endpoint })
        head.reject(expired())
      }
    }
  }

  #refuse(matches: (waiter: Waiter) => boolean, reason: () => unknown): void {
    for (const platform of this.#platforms.values()) this.#refuseIn(platform, matches, reason)
  }

  #refuseIn(platform: PlatformState, matches: (waiter: Waiter) => boolean, reason: () => unknown): void {
    for (const [endpoint, state] of platform.endpoints) {
      for (const waiter of state.lane.remove(matches)) {
        this.#metrics.jobs_queued.dec({ platform: platform.name, endpoint })
        waiter.reject(reason())
      }
    }
  }
}

function expired(): AttemptError {
  return new AttemptError('expired', 'expires_at passed while the job waited for a permit')
}
