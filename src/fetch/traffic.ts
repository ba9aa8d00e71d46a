import { AttemptError } from '../job/errors.ts'
import type { Reply } from '../job/fetch.ts'
import { onAbort } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'
import { REFUSED } from './breaker.ts'
import { decodeBody } from './decode.ts'
import { PermitLateError, translateError } from './errors.ts'
import { Exchange, type ExchangeFields, type ExchangeLimits, type ExchangeOwner } from './exchange.ts'
import type { Host, Slot } from './host.ts'
import { type FetchMeter, PICTURES } from './meter.ts'

export interface TrafficOptions {
  /** Requests that hold a socket, in all. As many more may wait for one. */
  readonly inFlightMax: number
  readonly limits: ExchangeLimits
}

export interface TrafficPorts {
  readonly meter: FetchMeter
  readonly log: Log
  readonly now: () => number
}

/** A tenth of the shortest time-out, within these bounds: a time-out fires at most so much late. */
const SWEEP_MS_MIN = 10
const SWEEP_MS_MAX = 100

/**
 * All requests under way: gives them sockets in order of arrival (one host after the other where the bound in all holds
 * them back), ends those that take too long or whose signal is aborted, decodes replies, keeps breakers and metrics told.
 *
 * One sweep over all of them, ten times a second or more, enforces every time-out. It costs about 20 ns per request; timers
 * of their own would cost each request some µs.
 */
export class Traffic implements ExchangeOwner {
  readonly limits: ExchangeLimits
  readonly now: () => number
  readonly #inFlightMax: number
  readonly #sweepMs: number
  readonly #meter: FetchMeter
  readonly #log: Log
  /** Requests whose callers wait for an answer; each knows its place. */
  readonly #live: Exchange[] = []
  /** Hosts that requests wait for, in the order in which they are served. */
  readonly #hungry = new Set<Host>()
  #waiting = 0
  /** Slots in use: requests that undici is not done with. */
  #inFlight = 0
  #serving = false
  /** Their replies are complete; they are answered at the end of this turn of the event loop. */
  #replied: Exchange[] = []
  #timer: NodeJS.Timeout | undefined
  #sweptMs = 0
  /** The last sweep ended nobody, because it was late. */
  #spared = false
  #whenIdle: (() => void) | undefined

  constructor(options: TrafficOptions, ports: TrafficPorts) {
    this.limits = options.limits
    this.now = ports.now
    this.#inFlightMax = options.inFlightMax
    this.#meter = ports.meter
    this.#log = ports.log
    const { timeoutMs, connectTimeoutMs, readTimeoutMs } = options.limits
    const shortestMs = Math.min(timeoutMs, connectTimeoutMs, readTimeoutMs)
    this.#sweepMs = Math.min(SWEEP_MS_MAX, Math.max(SWEEP_MS_MIN, Math.round(shortestMs / 10)))
  }

  /** How many more requests may hold a socket. */
  get room(): number {
    return Math.max(0, this.#inFlightMax - this.#inFlight)
  }

  /** Sends a request, now or when there is a socket for it. The caller has seen that its signal is not aborted. */
  run(fields: ExchangeFields, host: Host): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(fields, host, { resolve, reject }, this)
      exchange.index = this.#live.push(exchange) - 1
      this.#meter.began(platformOf(exchange))
      exchange.forgetSignal = onAbort(exchange.signal, () => exchange.fail(exchange.signal.reason))
      if (this.#timer === undefined) this.#startSweeping()
      if (host.waiting.size === 0 && host.freeSockets > 0 && this.#inFlight < this.#inFlightMax) {
        this.#send(exchange)
      } else if (this.#waiting >= this.#inFlightMax) {
        const message = `${exchange.what}: ${this.#waiting} requests wait for a socket already`
        exchange.fail(new AttemptError('timeout', message))
      } else {
        host.waiting.add(exchange)
        this.#waiting += 1
        this.#hungry.add(host)
      }
    })
  }

  /** Resolves when nothing is under way, or when `force` is aborted: then what is left is failed with `error`. */
  async drain(force: AbortSignal, error: (what: string) => Error): Promise<void> {
    if (!this.#idle && !force.aborted) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve
        force.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    for (const exchange of [...this.#live]) exchange.fail(error(exchange.what))
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#meter.publish()
  }

  replied(exchange: Exchange): void {
    exchange.repliedMs = this.now()
    exchange.host.breaker.record(exchange.admission, exchange.status >= 500, exchange.repliedMs)
    exchange.admission = REFUSED
    if (this.#replied.push(exchange) === 1) setImmediate(() => this.#answer())
  }

  failed(exchange: Exchange, error: unknown): void {
    const { host, permit, admission } = exchange
    const nowMs = this.now()
    const reason = error instanceof AttemptError ? error.reason : undefined
    if (admission !== REFUSED) {
      if (reason === 'timeout' || reason === 'connection' || reason === 'bad_response') {
        host.breaker.record(admission, true, nowMs)
      } else if (reason === 'too_large') host.breaker.record(admission, false, nowMs)
      // Aborted by its caller, or refused by us: nothing that the host did.
      else host.breaker.abandon(admission, nowMs)
      exchange.admission = REFUSED
    }
    if (host.waiting.delete(exchange)) {
      this.#waiting -= 1
      if (host.waiting.size === 0) this.#hungry.delete(host)
    }
    if (permit !== undefined && exchange.sentMs > 0 && reason !== undefined) {
      this.#meter.duration(permit.platform, permit.endpoint, undefined, nowMs - exchange.sentMs)
    }
    this.#forget(exchange)
    exchange.caller.reject(error)
  }

  freed(slot: Slot, reusable: boolean): void {
    this.#inFlight -= 1
    slot.host.giveBack(slot, reusable)
    if (this.#hungry.size > 0 && !this.#serving) {
      this.#serving = true
      // Not from inside undici's callback for the socket that has just become free.
      queueMicrotask(() => this.#serve())
    }
    if (this.#idle) this.#whenIdle?.()
  }

  arrivedThrew(error: unknown): void {
    this.#log.error({ err: error }, 'fetch: onArrived threw')
  }

  get #idle(): boolean {
    return this.#live.length === 0 && this.#inFlight === 0
  }

  /** The permit is spent and the request handed over in this one tick. A slot and a place in flight are free. */
  #send(exchange: Exchange): void {
    const { host, permit } = exchange
    const nowMs = this.now()
    const admission = host.breaker.admit(nowMs)
    if (admission === REFUSED) {
      const message = `${exchange.what}: ${host.origin} fails and is not called at present`
      exchange.fail(
        permit === undefined
          ? new AttemptError('connection', message)
          : new PermitLateError('breaker_open', message),
      )
      return
    }
    exchange.admission = admission
    if (permit !== undefined && !permit.spend(nowMs)) {
      const lateMs = Math.ceil(nowMs - permit.deadlineMs)
      exchange.fail(
        lateMs > 0
          ? new PermitLateError('late', `${exchange.what}: its permit's deadline passed ${lateMs} ms ago`)
          : new Error(`${exchange.what}: its permit was spent before, expected one for each request`),
      )
      return
    }
    this.#inFlight += 1
    exchange.send(host.take(), nowMs)
  }

  /**
   * Answers everybody whose reply came in this turn of the event loop. What follows for their jobs then goes on side by side, one
   * step for all of them after the other, and finds its code in the processor's caches: answered where each socket is read, a job
   * takes half as much CPU again.
   */
  #answer(): void {
    const replied = this.#replied
    this.#replied = []
    for (const exchange of replied) this.#decode(exchange)
  }

  #decode(exchange: Exchange): void {
    let body: Buffer | Promise<Buffer>
    try {
      body = decodeBody(exchange.takeBody(), exchange.headers['content-encoding'], exchange.bodyBytesMax)
    } catch (error) {
      exchange.fail(translateError(error, exchange.what))
      return
    }
    if (Buffer.isBuffer(body)) {
      this.#settle(exchange, body)
      return
    }
    body.then(
      (decoded) => this.#settle(exchange, decoded),
      (error: unknown) => exchange.fail(translateError(error, exchange.what)),
    )
  }

  #settle(exchange: Exchange, body: Buffer): void {
    if (!exchange.end()) return
    const { permit, status, headers } = exchange
    const durationMs = exchange.repliedMs - exchange.sentMs
    this.#meter.bytes(platformOf(exchange), body.length)
    if (permit !== undefined) this.#meter.duration(permit.platform, permit.endpoint, status, durationMs)
    this.#forget(exchange)
    exchange.caller.resolve({ status, headers, body, durationMs })
  }

  #forget(exchange: Exchange): void {
    this.#meter.ended(platformOf(exchange))
    exchange.forgetSignal()
    const last = this.#live.pop()
    if (last !== undefined && last !== exchange) {
      this.#live[exchange.index] = last
      last.index = exchange.index
    }
    if (this.#idle) this.#whenIdle?.()
  }

  /** Sends what waits and can be sent, one request of each host in turn. */
  #serve(): void {
    this.#serving = false
    for (const host of this.#hungry) {
      if (this.#inFlight >= this.#inFlightMax) return
      const [next] = host.waiting
      if (next === undefined || host.freeSockets <= 0) continue
      host.waiting.delete(next)
      this.#waiting -= 1
      // Behind the others, and visited again by this very loop: a Set is walked up to what was added meanwhile.
      this.#hungry.delete(host)
      if (host.waiting.size > 0) this.#hungry.add(host)
      this.#send(next)
    }
  }

  #startSweeping(): void {
    this.#sweptMs = this.now()
    this.#timer = setInterval(() => this.#sweep(), this.#sweepMs).unref()
  }

  #sweep(): void {
    const nowMs = this.now()
    const late = nowMs - this.#sweptMs > 2 * this.#sweepMs
    this.#sweptMs = nowMs
    // The loop was held up, and timers come before sockets: replies may lie there unread. They get one turn; not two, or a
    // loop that is always late would never end anything.
    this.#spared = late && !this.#spared
    if (this.#spared) return
    // Backwards: a request that ends leaves the list, and the last one takes its place.
    for (let index = this.#live.length - 1; index >= 0; index -= 1) this.#live[index]?.sweep(nowMs)
    this.#meter.publish()
    if (!this.#idle) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

function platformOf(exchange: Exchange): string {
  return exchange.permit?.platform ?? PICTURES
}
