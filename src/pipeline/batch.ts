import type { EndStep, Steps } from '../job/steps.ts'
import { onAbort } from '../lib/abort.ts'
import type { Errand } from './errand.ts'
import { InTheWayError } from './permit-desk.ts'
import { Standing } from './standing.ts'
import { expired } from './waiter.ts'

/** One job's part of a call that is made for several. */
export interface Order {
  readonly errand: Errand
  /** Each once. */
  readonly ids: readonly string[]
  /** With what was found of them. */
  readonly resolve: (items: ReadonlyMap<string, unknown>) => void
  readonly reject: (error: unknown) => void
  /** Told when the call that it is in has its permit. */
  readonly departs?: EndStep | undefined
}

/**
 * A call that is made for several jobs, as the errand of all of them: what happens to it (it waits, moves, is sent, is answered)
 * happens to each. A job leaves when it is given up, and takes nothing with it; the call is given up when nobody is left.
 */
export class Batch implements Errand {
  readonly priority: number
  readonly sinceMs: number
  /** Each job has a time of its own, looked at before it is sent and now and then while it waits. */
  readonly expiresAtMs = Number.POSITIVE_INFINITY
  /** Each job judges the outcome by its own; here only what its own retries with a new token or another credential need is counted. */
  readonly tally = { attempts: 0, throttled: 0, badResponses: 0 }
  readonly creatorId = ''
  readonly standing: Standing
  renewed: Errand['renewed']
  /** With the way to be told no more that the job is given up. */
  readonly #orders = new Map<Order, () => void>()
  /** How many jobs ask for each id. */
  readonly #askers = new Map<string, number>()
  readonly #end = new AbortController()
  #calls: number
  #observedAtMs = 0

  /** Begins as the first job that it will be for stands. */
  constructor(first: Errand) {
    this.priority = first.priority
    this.sinceMs = first.sinceMs
    this.#calls = first.calls
    this.standing = new Standing((waits) => {
      for (const { errand } of this.#orders.keys()) {
        if (waits) errand.standing.waits()
        else errand.standing.moves()
      }
    })
  }

  /** Aborted when nobody is left. */
  get signal(): AbortSignal {
    return this.#end.signal
  }

  /** What the call does, each of its jobs does. How long each has waited for the permit is told where it joins. */
  get trace(): Steps | undefined {
    const traces = this.orders.flatMap(({ errand: { trace } }) => (trace === undefined ? [] : [trace]))
    if (traces.length === 0) return undefined
    return {
      step: (name, attributes) => {
        const ends = name === 'permit' ? [] : traces.map((trace) => trace.step(name, attributes))
        return (error) => {
          for (const end of ends) end(error)
        }
      },
    }
  }

  get calls(): number {
    return this.#calls
  }

  set calls(calls: number) {
    for (const { errand } of this.#orders.keys()) errand.calls += calls - this.#calls
    this.#calls = calls
  }

  get observedAtMs(): number {
    return this.#observedAtMs
  }

  set observedAtMs(atMs: number) {
    for (const { errand } of this.#orders.keys()) errand.observedAtMs = atMs
    this.#observedAtMs = atMs
  }

  get orders(): readonly Order[] {
    return [...this.#orders.keys()]
  }

  /** What it asks for. */
  get ids(): readonly string[] {
    return [...this.#askers.keys()]
  }

  get isEmpty(): boolean {
    return this.#orders.size === 0
  }

  /** Whether these ids may come along in a call of `max` at most; those that it asks for already take no place. */
  fits(ids: readonly string[], max: number): boolean {
    let free = max - this.#askers.size
    // Mostly there is room for all of them, and no need to look.
    return (
      !this.signal.aborted && (free >= ids.length || ids.every((id) => this.#askers.has(id) || free-- > 0))
    )
  }

  add(order: Order): void {
    const { signal } = order.errand
    const forget = onAbort(signal, () => {
      this.#drop(order, signal.reason)
      this.#endIfEmpty()
    })
    this.#orders.set(order, forget)
    for (const id of order.ids) this.#askers.set(id, (this.#askers.get(id) ?? 0) + 1)
  }

  /** Takes over whoever of another one, which still waits, fits in. It is given up when nobody is left in it. */
  takeFrom(other: Batch, max: number): void {
    for (const order of other.orders) {
      if (!this.fits(order.ids, max)) continue
      other.#remove(order)
      this.add(order)
    }
    other.#endIfEmpty()
  }

  /** The desk asks now and then while it waits: then those leave who need not wait on. True when nobody is left. */
  readonly isInTheWay = (): boolean => {
    this.#dropExpired()
    for (const order of this.orders) {
      if (order.errand.isInTheWay()) this.#drop(order, new InTheWayError('the job is in the way of others'))
    }
    return this.isEmpty
  }

  /** It is about to be sent: for those only whose time is not over. */
  depart(): void {
    this.#dropExpired()
    for (const { departs } of this.orders) departs?.()
    this.#endIfEmpty()
  }

  resolve(found: ReadonlyMap<string, unknown>): void {
    for (const order of this.orders) {
      this.#remove(order)
      const theirs = order.ids.flatMap((id) => (found.has(id) ? [[id, found.get(id)] as const] : []))
      order.resolve(new Map(theirs))
    }
  }

  reject(error: unknown): void {
    for (const order of this.orders) this.#drop(order, error)
  }

  /** Two of half its jobs each. */
  halve(): readonly Batch[] {
    const { orders } = this
    const middle = Math.ceil(orders.length / 2)
    return [orders.slice(0, middle), orders.slice(middle)].map((half) => {
      const batch = new Batch(half[0]!.errand)
      for (const order of half) {
        this.#remove(order)
        batch.add(order)
      }
      return batch
    })
  }

  #dropExpired(): void {
    const nowMs = Date.now()
    for (const order of this.orders) if (order.errand.expiresAtMs <= nowMs) this.#drop(order, expired())
  }

  #drop(order: Order, error: unknown): void {
    this.#remove(order)
    order.reject(error)
  }

  #remove(order: Order): void {
    this.#orders.get(order)?.()
    this.#orders.delete(order)
    for (const id of order.ids) {
      const left = this.#askers.get(id)! - 1
      if (left > 0) this.#askers.set(id, left)
      else this.#askers.delete(id)
    }
  }

  // Not whenever the last one is removed: the desk must not be told while it is asking, nor for every call that has ended.
  #endIfEmpty(): void {
    if (this.isEmpty) this.#end.abort(new Error('nobody needs this call any more'))
  }
}
