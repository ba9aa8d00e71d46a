import type { Limiter, Permit } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { CredentialChoice } from './credential-choice.ts'
import { PlatformPermits } from './platform-permits.ts'
import { expired } from './waiter.ts'

export interface PermitDeskOptions {
  /** A grant is dropped when it cannot be used within this time of having been asked for. */
  readonly useWithinMs: number
  /** Free sockets of a platform's origin: how many permits could be used at once now. */
  readonly room: (platform: string) => number
  /** A platform's credentials, to choose from for each permit. Default: there is one, without a name. */
  readonly credentials?: (platform: string) => CredentialChoice | undefined
  /** Calls of one platform at the limiter are at least this far apart. Default 5: a queue is served by few of them. */
  readonly gapMs?: number
  /** After this long the limiter takes a grant for used, whatever has become of it. Default 60,000. */
  readonly grantTimeoutMs?: number
  /** How often those are sought who wait in vain: past their time, or in the way of others. Default 5,000. */
  readonly sweepMs?: number
}

export interface PermitRequest {
  readonly platform: string
  readonly endpoint: string
  /** The credential that the call has to be made with. Default: the desk chooses, and the permit says. */
  readonly credential?: string | undefined
  /** The same for all calls of an endpoint. */
  readonly cost: number
  readonly priority: number
  /** When the job was taken in, Unix ms. */
  readonly sinceMs: number
  /** Unix ms; a job that waits past it is given up. */
  readonly expiresAtMs: number
  readonly signal: AbortSignal
  /** True when requests have been sent for this job already: giving it up would waste them. */
  readonly begun: boolean
  /** Asked now and then while it waits; once it is true the job is sent away, with InTheWayError. */
  readonly isInTheWay: () => boolean
}

/** A job was sent away because others stand behind it that need not wait: it is to be put aside, with whatever it has done. */
export class InTheWayError extends Error {
  override readonly name = 'InTheWayError'
}

/** A job that had not begun was sent away because the daemon is stopping: it stays unsettled. */
export class DismissedError extends Error {
  override readonly name = 'DismissedError'
}

/** Where calls wait for their permits, whatever their platform. */
export class PermitDesk {
  readonly #platforms = new Map<string, PlatformPermits>()
  readonly #signals = new WeakSet<AbortSignal>()
  readonly #open: (platform: string) => PlatformPermits
  readonly #sweepMs: number
  #sweeper: NodeJS.Timeout | undefined
  #closing = false

  constructor(limiter: Limiter, metrics: Metrics, log: Log, options: PermitDeskOptions) {
    const { useWithinMs, room, credentials, gapMs = 5, grantTimeoutMs = 60_000, sweepMs = 5_000 } = options
    this.#sweepMs = sweepMs
    this.#open = (platform) =>
      new PlatformPermits(
        platform,
        {
          useWithinMs,
          room: () => room(platform),
          credentials: credentials?.(platform),
          gapMs,
          grantTimeoutMs,
        },
        { limiter, metrics, log },
      )
  }

  start(): void {
    this.#sweeper ??= setInterval(() => {
      const nowMs = Date.now()
      this.#refuse((waiter) => waiter.expiresAtMs <= nowMs, expired)
      this.#refuse(
        (waiter) => waiter.isInTheWay(),
        () => new InTheWayError('the job is in the way of others'),
      )
    }, this.#sweepMs).unref()
  }

  /** Refuses whoever still waits, and sends the last acknowledgements. */
  async stop(): Promise<void> {
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    this.#refuse(
      () => true,
      () => new Error('the permit desk was stopped'),
    )
    await Promise.all([...this.#platforms.values()].map((platform) => platform.stop()))
  }

  /**
   * Waits for the right to send one request. Use it in the same tick, and tell `sent` and then `arrived`. Rejects with
   * AttemptError `expired`, or with the signal's reason.
   */
  acquire(request: PermitRequest): Promise<Permit> {
    return new Promise((resolve, reject) => {
      request.signal.throwIfAborted()
      if (this.#closing && !request.begun) throw new DismissedError('the daemon is stopping')
      this.#watch(request.signal)
      const { credential } = request
      this.#platform(request.platform).push({
        ...request,
        credential,
        queuedAtMs: performance.now(),
        resolve,
        reject,
      })
    })
  }

  /** The request under this permit has reached the upstream, or never will. */
  arrived(permit: Permit): void {
    this.#platform(permit.platform).arrived(permit)
  }

  /** The permit was handed to the fetch engine: from now on the engine counts its socket. */
  sent(permit: Permit): void {
    this.#platform(permit.platform).sent()
  }

  /** A socket became free: there may be room for those who wait. */
  roomMade(platform: string): void {
    this.#platforms.get(platform)?.wake()
  }

  /** The daemon drains: jobs that have not begun are sent away, with DismissedError; the others get their permits still. */
  dismiss(): void {
    this.#closing = true
    this.#refuse(
      (waiter) => !waiter.begun,
      () => new DismissedError('the daemon is stopping'),
    )
  }

  /** Stops asking for permits of a platform; its calls wait. */
  pause(platform: string, because: string): void {
    this.#platform(platform).pause(because)
  }

  resume(platform: string): void {
    this.#platform(platform).resume()
  }

  /** Paused platforms and why. */
  get paused(): readonly { platform: string; because: string }[] {
    return [...this.#platforms].flatMap(([platform, { pausedBecause }]) =>
      pausedBecause === undefined ? [] : [{ platform, because: pausedBecause }],
    )
  }

  /** Calls that wait, by platform and endpoint. */
  queued(): Record<string, Record<string, number>> {
    return Object.fromEntries([...this.#platforms].map(([name, platform]) => [name, platform.queued()]))
  }

  #platform(name: string): PlatformPermits {
    let platform = this.#platforms.get(name)
    if (platform === undefined) {
      platform = this.#open(name)
      this.#platforms.set(name, platform)
    }
    return platform
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

  #refuse(...args: Parameters<PlatformPermits['refuse']>): void {
    for (const platform of this.#platforms.values()) platform.refuse(...args)
  }
}
