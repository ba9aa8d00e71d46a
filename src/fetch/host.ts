import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { type buildConnector, Client } from 'undici'
import type { Breaker } from './breaker.ts'
import type { Connect } from './connector.ts'
import type { Exchange } from './exchange.ts'

export interface HostOptions {
  /** Scheme, host and port. */
  readonly origin: string
  readonly socketsMax: number
  readonly breaker: Breaker
  readonly connect: Connect
  readonly keepAliveMs: number
  readonly headerBytesMax: number
  /** An error that undici could not give to a request: a bug, worth a log line. */
  readonly onStray: (error: unknown) => void
}

/** Thrown at a connection that is being made and that nobody waits for any more. */
class GivenUpError extends Error {
  override readonly name = 'GivenUpError'
}

/**
 * One socket of a host: an undici client, which holds at most one connection and makes a new one when a request needs it.
 *
 * undici's Pool is not used: it looks for a free client by going through all of them, twice per request, and does not say
 * how many are free. A stack of free clients costs 10–15% less CPU per request at 256 in flight, and `room` is exact.
 */
export class Slot {
  readonly host: Host
  readonly client: Client
  #connected = false
  #connecting: Socket | undefined

  constructor(host: Host, options: HostOptions) {
    this.host = host
    const connect: buildConnector.connector = (target, callback) => {
      this.#connecting = options.connect(target, (...result) => {
        this.#connecting = undefined
        callback(...result)
      })
    }
    this.client = new Client(options.origin, {
      connect,
      pipelining: 1,
      allowH2: false,
      // 0 is "none" for undici: the engine's sweep bounds connect, headers, body and total with one timer for all.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: options.keepAliveMs,
      // A server may ask for less time between requests, not for more.
      keepAliveMaxTimeout: options.keepAliveMs,
      maxHeaderSize: options.headerBytesMax,
    })
    this.client.on('connect', () => {
      this.#connected = true
    })
    this.client.on('disconnect', () => {
      this.#connected = false
      host.dropIfFree(this)
    })
    // Its types know only its own events; an `error` that nobody listens to would end the process.
    const emitter: EventEmitter = this.client
    emitter.on('error', options.onStray)
  }

  get connected(): boolean {
    return this.#connected
  }

  /** Ends a connection that is being made; its request then fails in undici. A connection that stands is left alone. */
  giveUpConnecting(): void {
    this.#connecting?.destroy(new GivenUpError('no longer wanted'))
  }
}

/**
 * The sockets of one origin, the requests that wait for one, and its breaker. Free sockets are taken last in, first out:
 * those that are not needed grow old and close by themselves.
 */
export class Host {
  readonly origin: string
  readonly breaker: Breaker
  /** In order of arrival. */
  readonly waiting = new Set<Exchange>()
  readonly #options: HostOptions
  readonly #free: Slot[] = []
  readonly #busy = new Set<Slot>()
  readonly #closing = new Set<Promise<void>>()

  constructor(options: HostOptions) {
    this.origin = options.origin
    this.breaker = options.breaker
    this.#options = options
  }

  /** Sockets that a request could have at once: open and free ones, and those that may still be opened. */
  get freeSockets(): number {
    return this.#options.socketsMax - this.#busy.size
  }

  get idle(): boolean {
    return this.#busy.size === 0 && this.waiting.size === 0
  }

  /** Requests that could be sent now, those that wait already not counted. */
  room(nowMs: number): number {
    return Math.max(0, Math.min(this.freeSockets - this.waiting.size, this.breaker.room(nowMs)))
  }

  /** Takes a slot; the caller has seen that `freeSockets` is above zero. */
  take(): Slot {
    const slot = this.#free.pop() ?? new Slot(this, this.#options)
    this.#busy.add(slot)
    return slot
  }

  /** Gives a slot back. One that failed, or has lost its connection, is closed: another takes its place when needed. */
  giveBack(slot: Slot, reusable: boolean): void {
    this.#busy.delete(slot)
    if (reusable && slot.connected) this.#free.push(slot)
    else this.#close(slot)
  }

  dropIfFree(slot: Slot): void {
    const index = this.#free.indexOf(slot)
    if (index < 0) return
    this.#free.splice(index, 1)
    this.#close(slot)
  }

  /** Closes every socket, at once. Requests on them fail. Resolves when all are closed. */
  async destroy(): Promise<void> {
    for (const slot of [...this.#free.splice(0), ...this.#busy]) this.#close(slot)
    await Promise.all(this.#closing)
  }

  #close(slot: Slot): void {
    // Later, because this is called from inside undici's callbacks for that very client.
    const closed = Promise.resolve()
      .then(() => slot.client.destroy())
      .catch(this.#options.onStray)
      .finally(() => this.#closing.delete(closed))
    this.#closing.add(closed)
    slot.giveUpConnecting()
  }
}
