import { AttemptError } from '../job/errors.ts'
import type { Batching, CallOptions } from '../job/platform.ts'
import type { Reason } from '../job/reason.ts'
import { Batch, type Order } from './batch.ts'
import type { Errand } from './errand.ts'

/** A call that may be made for many ids at once; those of the same endpoint and options may go together. */
export interface BatchedCall {
  readonly endpoint: string
  readonly batch: Batching
  /** All but the ids. */
  readonly options: CallOptions
}

export interface BatchesOptions {
  /** Makes one call, under a permit of its own. Asks what it is to say when it has the permit. */
  readonly send: (errand: Errand, endpoint: string, options: () => CallOptions) => Promise<{ data: unknown }>
  /** Told of each call that is sent. */
  readonly onSent: (endpoint: string, ids: number) => void
}

/** Batches that wait for their permits and may be joined. */
interface Pool extends BatchedCall {
  readonly key: string
  /** The oldest first. */
  readonly open: Set<Batch>
  /** Of each kind of job, see `kindOf`, the newest. */
  readonly newest: Map<string, Batch>
}

/** Whose jobs a batch takes along at its departure: so many of those that have waited longest. */
const TAKEN_FROM_MAX = 8

/**
 * Reasons that may be one id's fault: a platform may refuse a whole call for one of its ids, and a schema a whole reply for one of its
 * items. What is everybody's (a throttle, a time-out, credentials) is passed on as it is.
 */
const ONE_IDS_FAULT: ReadonlySet<Reason> = new Set([
  'not_found',
  'private',
  'invalid_params',
  'too_large',
  'bad_response',
])

/**
 * Lets jobs that ask the same endpoint at the same time share its calls. Ids join an open batch **until its permit is granted**: while
 * permits are plentiful nobody waits for others, and when they are scarce each call is full.
 *
 * - *Who goes together.* Jobs of one priority wait in one batch, so each stands in the lane where it would stand alone. What is free
 *   in it at its departure is given to others, whatever their priority.
 * - *Failures* are the same error for all; each job judges it by its own tally, and whoever tries again does so at the same moment and
 *   so in one call. When it may be one id's fault the batch is halved until the job is found: of n jobs that costs at most 2n − 1
 *   calls, and about 2 log₂ n for one bad id.
 * - *Bounds.* Every open batch has a job that waits in it, and a job has one order at a time: what is held is bounded by the jobs in
 *   memory, which the intake bounds.
 */
export class Batches {
  readonly #options: BatchesOptions
  readonly #pools = new Map<string, Pool>()

  constructor(options: BatchesOptions) {
    this.#options = options
  }

  /** Batches that may be joined. */
  get open(): number {
    let open = 0
    for (const pool of this.#pools.values()) open += pool.open.size
    return open
  }

  /**
   * Resolves with what was found of `ids`, by id, in their order: at most `batch.max`, each once. Rejects with the call's error, with
   * what the permit desk says to a job that waits, or with the reason of the job's signal.
   */
  async join(
    errand: Errand,
    call: BatchedCall,
    ids: readonly string[],
  ): Promise<ReadonlyMap<string, unknown>> {
    errand.signal.throwIfAborted()
    const pool = this.#poolOf(call)
    return new Promise((resolve, reject) => {
      const departs = errand.trace?.step('permit', { 'millrace.endpoint': call.endpoint })
      const order: Order = {
        ...{ errand, ids, resolve, departs },
        reject: (error) => {
          departs?.(error)
          reject(error)
        },
      }
      const kind = kindOf(errand)
      const open = pool.newest.get(kind)
      if (open?.fits(ids, call.batch.max)) {
        open.add(order)
        return
      }
      const batch = new Batch(errand)
      batch.add(order)
      pool.open.add(batch)
      pool.newest.set(kind, batch)
      void this.#run(pool, batch, { isAlone: false })
    })
  }

  /** `isAlone`: nobody else may come along. Never rejects. */
  async #run(pool: Pool, batch: Batch, { isAlone }: { isAlone: boolean }): Promise<void> {
    try {
      const { data } = await this.#options.send(batch, pool.endpoint, () =>
        this.#depart(pool, batch, isAlone),
      )
      batch.resolve(itemsOf(data, pool.batch))
    } catch (error) {
      this.#close(pool, batch)
      const isOwn = error instanceof AttemptError && !(error.cause instanceof AttemptError)
      if (isOwn && ONE_IDS_FAULT.has(error.reason) && batch.orders.length > 1) {
        for (const half of batch.halve()) void this.#run(pool, half, { isAlone: true })
        return
      }
      // A renewal of the authorisation was judged by the attempts of this call: what follows is for each job to say.
      batch.reject(error instanceof AttemptError && !isOwn ? error.cause : error)
    }
  }

  /** The permit is there: what the call asks for is settled now. */
  #depart(pool: Pool, batch: Batch, isAlone: boolean): CallOptions {
    this.#close(pool, batch)
    batch.depart()
    if (!isAlone) {
      let looked = 0
      for (const other of pool.open) {
        if (++looked > TAKEN_FROM_MAX) break
        batch.takeFrom(other, pool.batch.max)
      }
    }
    const { ids } = batch
    // None: then it is cut off before it is sent.
    if (ids.length > 0) this.#options.onSent(pool.endpoint, ids.length)
    return withIds(pool.options, ids, pool.batch)
  }

  #poolOf(call: BatchedCall): Pool {
    const key = JSON.stringify([call.endpoint, call.options])
    let pool = this.#pools.get(key)
    if (pool === undefined) {
      pool = { ...call, key, open: new Set(), newest: new Map() }
      this.#pools.set(key, pool)
    }
    return pool
  }

  #close(pool: Pool, batch: Batch): void {
    pool.open.delete(batch)
    for (const [kind, newest] of pool.newest) if (newest === batch) pool.newest.delete(kind)
    if (pool.open.size === 0 && this.#pools.get(pool.key) === pool) this.#pools.delete(pool.key)
  }
}

/** Jobs that the permit desk treats alike: it sends away who has not begun when the daemon drains. */
function kindOf({ priority, calls }: Errand): string {
  return `${priority}${calls > 0 ? ' begun' : ''}`
}

/** A call's options with the ids in them. */
export function withIds(options: CallOptions, ids: readonly string[], batch: Batching): CallOptions {
  return { ...options, query: { ...options.query, [batch.query]: ids.join(',') } }
}

/** The items of a reply, by id. Throws a TypeError when it has none where the platform's definition says. */
export function itemsOf(reply: unknown, batch: Batching): ReadonlyMap<string, unknown> {
  const items = at(reply, batch.items) ?? []
  if (!Array.isArray(items)) throw new TypeError(`batch.items: found no list at ${batch.items} of the reply`)
  return new Map(
    items.map((item: unknown) => {
      const id = at(item, batch.id)
      if (typeof id !== 'string' && typeof id !== 'number')
        throw new TypeError(`batch.id: found no text or number at ${batch.id} of an item`)
      return [String(id), item]
    }),
  )
}

/** What stands at a path of names joined by dots. A name that has a dot itself is found as well. */
function at(value: unknown, path: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  const fields = value as Readonly<Record<string, unknown>>
  const dot = path.indexOf('.')
  if (dot < 0 || Object.hasOwn(fields, path)) return fields[path]
  return at(fields[path.slice(0, dot)], path.slice(dot + 1))
}
