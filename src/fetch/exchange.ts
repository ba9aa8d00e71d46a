import type { Dispatcher } from 'undici'
import { AttemptError } from '../job/errors.ts'
import type { Reply } from '../job/fetch.ts'
import type { Permit } from '../job/permit.ts'
import { PermitLateError, translateError } from './errors.ts'
import type { Host, Slot } from './host.ts'

/** What one request is. */
export interface ExchangeFields {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  /** Name, value, name, value. */
  readonly headers: string[]
  readonly body: string | Buffer | undefined
  readonly bodyBytesMax: number
  /** Undefined for downloads: they need none. */
  readonly permit: Permit | undefined
  readonly signal: AbortSignal
  readonly onArrived: (() => void) | undefined
  /** When the caller asked; the total time counts from here. */
  readonly askedMs: number
}

/** The caller, who waits for the end. */
export interface ExchangeCaller {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

/** Who runs exchanges. None of these may throw. */
export interface ExchangeOwner {
  readonly limits: ExchangeLimits
  readonly now: () => number
  /** The whole reply has come: `status`, `headers`, `takeBody()`. Whoever made something of it calls `end`. */
  replied(exchange: Exchange): void
  /** It has ended without a result; at most once, and not after `end`. */
  failed(exchange: Exchange, error: unknown): void
  /** Called once if it had been sent to a slot, when undici is done with it: the slot is free. */
  freed(slot: Slot, reusable: boolean): void
  /** A caller's `onArrived` threw. */
  arrivedThrew(error: unknown): void
}

export interface ExchangeLimits {
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly readTimeoutMs: number
}

/**
 * `waiting` for a socket; `connecting`, handed to undici, nothing written yet; `headers`, written, no reply yet; `body`;
 * `decoding`, all of it is here; `ended`, the caller has been told. Always forwards, and from any state to `ended`.
 */
type Phase = 'waiting' | 'connecting' | 'headers' | 'body' | 'decoding' | 'ended'

/** Thrown at undici to make it pass over a request that nobody waits for any more, without closing the socket. */
class PassedOverError extends Error {
  override readonly name = 'PassedOverError'
}

/**
 * One request on its way: undici's handler, and the state that the sweep looks at. It is told to the caller at once when it
 * ends, which may be earlier than undici is done with the socket; the slot is given back then.
 *
 * None of undici's callbacks may throw after the reply began, and `onResponseError` never: undici has no one to tell.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly host: Host
  readonly url: URL
  readonly method: 'GET' | 'POST'
  readonly bodyBytesMax: number
  readonly permit: Permit | undefined
  readonly signal: AbortSignal
  status = 0
  headers: Readonly<Record<string, string | string[] | undefined>> = {}
  /** Bytes of the body on the wire, so far. */
  wireBytes = 0
  /** When it was handed to undici, and when its whole reply was there: what lies between is its duration. */
  sentMs = 0
  repliedMs = 0
  /** Of the host's breaker; REFUSED while it has none, and again once it was given back. */
  admission = 0
  /** Stops listening to the signal. */
  forgetSignal: () => void = () => {}
  /** Its place in the engine's list. */
  index = -1
  readonly caller: ExchangeCaller
  readonly #fields: ExchangeFields
  readonly #owner: ExchangeOwner
  #phase: Phase = 'waiting'
  /** When the phase began, or when the last piece of the body came. */
  #phaseMs: number
  #arrived = false
  #slot: Slot | undefined
  #controller: Dispatcher.DispatchController | undefined
  #first: Buffer | undefined
  #more: Buffer[] | undefined

  constructor(fields: ExchangeFields, host: Host, caller: ExchangeCaller, owner: ExchangeOwner) {
    this.#fields = fields
    this.#owner = owner
    this.caller = caller
    this.host = host
    this.url = fields.url
    this.method = fields.method
    this.bodyBytesMax = fields.bodyBytesMax
    this.permit = fields.permit
    this.signal = fields.signal
    this.#phaseMs = fields.askedMs
  }

  get ended(): boolean {
    return this.#phase === 'ended'
  }

  /** Method, origin and path: what messages name. Never the query, which may hold a key. */
  get what(): string {
    return `${this.method} ${this.url.origin}${this.url.pathname}`
  }

  /** Hands it to undici on a slot that is this request's own until `onFreed`. */
  send(slot: Slot, nowMs: number): void {
    this.#slot = slot
    this.#phase = 'connecting'
    this.#phaseMs = nowMs
    this.sentMs = nowMs
    const { url, headers, body } = this.#fields
    // Time-outs are the sweep's (one timer for all requests), the body's bound is ours: it counts decompressed bytes too.
    slot.client.dispatch(
      { path: url.pathname + url.search, method: this.method, headers, body: body ?? null },
      this,
    )
  }

  /** Ends it when it took too long. */
  sweep(nowMs: number): void {
    const { timeoutMs, connectTimeoutMs, readTimeoutMs } = this.#owner.limits
    if (nowMs - this.#fields.askedMs >= timeoutMs) {
      const where = this.#phase === 'waiting' ? 'no socket became free' : 'it was not complete'
      this.fail(new AttemptError('timeout', `${this.what}: ${where} within ${timeoutMs} ms`))
      return
    }
    const elapsedMs = nowMs - this.#phaseMs
    switch (this.#phase) {
      case 'waiting':
        if (this.permit !== undefined && nowMs > this.permit.deadlineMs) this.#late()
        return
      case 'connecting':
        // The connection is still made, for whoever comes next; this request will be passed over.
        if (this.permit !== undefined && nowMs > this.permit.deadlineMs) this.#late()
        if (elapsedMs < connectTimeoutMs) return
        this.fail(new AttemptError('timeout', `${this.what}: no connection within ${connectTimeoutMs} ms`))
        return
      case 'headers':
        if (elapsedMs < readTimeoutMs) return
        this.fail(new AttemptError('timeout', `${this.what}: no reply within ${readTimeoutMs} ms`))
        return
      case 'body':
        if (elapsedMs < readTimeoutMs) return
        this.fail(
          new AttemptError('timeout', `${this.what}: nothing more of the body came for ${readTimeoutMs} ms`),
        )
        return
      case 'decoding':
      case 'ended':
        return
    }
  }

  /** Ends a reply that has been made something of. False when it had ended before: it took too long, say. */
  end(): boolean {
    if (this.#phase === 'ended') return false
    this.#phase = 'ended'
    return true
  }

  /** Ends it with an error, whatever it is doing, and closes its socket. Does nothing when it has ended. */
  fail(error: unknown): void {
    if (this.#phase === 'ended') return
    const phase = this.#phase
    this.#endWith(error)
    if (phase === 'connecting') this.#slot?.giveUpConnecting()
    // Without a controller undici has not written it yet, and `onRequestStart` will pass over it.
    this.#controller?.abort(new PassedOverError('given up'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#phase === 'ended') throw new PassedOverError('given up before it was sent')
    const nowMs = this.#owner.now()
    // The connection may have taken longer than the permit lasts: better a wasted permit than a request too many.
    if (this.permit !== undefined && nowMs > this.permit.deadlineMs) {
      this.#late()
      throw new PassedOverError('its permit is late')
    }
    this.#controller = controller
    this.#phase = 'headers'
    this.#phaseMs = nowMs
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // An interim reply (103 Early Hints); the real one follows.
    if (status < 200) return
    this.status = status
    this.headers = headers
    this.#phase = 'body'
    this.#phaseMs = this.#owner.now()
    this.#tellArrived()
    const announced = Number(headers['content-length'])
    if (announced > this.bodyBytesMax) this.#tooLarge(`${announced} bytes are announced`)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#phase !== 'body') return
    this.#phaseMs = this.#owner.now()
    this.wireBytes += chunk.length
    if (this.wireBytes > this.bodyBytesMax) {
      this.#tooLarge(`${this.wireBytes} bytes came`)
      return
    }
    if (this.#first === undefined) this.#first = chunk
    else if (this.#more === undefined) this.#more = [this.#first, chunk]
    else this.#more.push(chunk)
  }

  onResponseEnd(): void {
    if (this.#phase === 'body') {
      this.#phase = 'decoding'
      this.#owner.replied(this)
    }
    this.#free(true)
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#phase !== 'ended') this.#endWith(translateError(error, this.what))
    // Passed over before anything was written: the socket is as good as before.
    this.#free(error instanceof PassedOverError && this.#controller === undefined)
  }

  /** The body as it came, once; then it belongs to the caller. */
  takeBody(): Buffer {
    const body = this.#more === undefined ? (this.#first ?? Buffer.alloc(0)) : Buffer.concat(this.#more)
    this.#first = undefined
    this.#more = undefined
    return body
  }

  #late(): void {
    this.#endWith(
      new PermitLateError('late', `${this.what}: its permit's deadline passed before it could be sent`),
    )
  }

  #tooLarge(found: string): void {
    this.fail(new AttemptError('too_large', `${this.what}: ${found}, expected at most ${this.bodyBytesMax}`))
  }

  #endWith(error: unknown): void {
    // Written and not answered: it may lie in a buffer of the upstream's and be counted any moment from now. Nobody can say
    // that it has arrived, so the limiter has to take the longest time it allows a grant.
    const isOnItsWay = this.#phase === 'headers'
    this.#phase = 'ended'
    this.#first = undefined
    this.#more = undefined
    if (!isOnItsWay) this.#tellArrived()
    this.#owner.failed(this, error)
  }

  #tellArrived(): void {
    if (this.#arrived) return
    this.#arrived = true
    try {
      this.#fields.onArrived?.()
    } catch (error) {
      this.#owner.arrivedThrew(error)
    }
  }

  #free(reusable: boolean): void {
    const slot = this.#slot
    if (slot === undefined) return
    this.#slot = undefined
    this.#controller = undefined
    this.#owner.freed(slot, reusable)
  }
}
