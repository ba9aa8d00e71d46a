import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../job/errors.ts'
import { RowsRejectedError, type TableName } from '../job/row.ts'
import { onAbort } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { abortError } from './abort.ts'
import type { Parcel } from './encode.ts'
import { type BatchLimits, Gathering } from './gathering.ts'
import type { Batch, Insert } from './insert.ts'
import { Room } from './room.ts'
import { ONE_AT_A_TIME } from './tables.ts'

export interface BatcherLimits extends BatchLimits {
  readonly inFlightMax: number
  /** Rows and bytes that may be held, batches in flight included; beyond that write() waits. */
  readonly bufferRowsMax: number
  readonly bufferBytesMax: number
  /** Pause after a failed insert: doubles from min to max, then stays there. */
  readonly backoffMsMin: number
  readonly backoffMsMax: number
}

/** The buffer holds 20 batches of rows or 8 of bytes: some seconds of a database that is away at full speed. */
export const BATCHER_LIMITS: BatcherLimits = {
  rowsMax: 10_000,
  bytesMax: 8_000_000,
  ageMs: 1_000,
  inFlightMax: 2,
  bufferRowsMax: 200_000,
  bufferBytesMax: 64_000_000,
  backoffMsMin: 100,
  backoffMsMax: 5_000,
}

export interface BatcherOptions {
  readonly insert: Insert
  readonly limits: BatcherLimits
  readonly metrics: Metrics
  readonly log: Log
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

/** One write(): settled when the last of its parcels is, or when the first is refused. */
interface Ticket {
  pending: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

interface Held {
  readonly parcel: Parcel
  readonly ticket: Ticket
}

/**
 * Gathers parcels into batches and inserts them, `inFlightMax` at once, of some tables one at a time. A failed insert is
 * repeated byte for byte until it is answered: rows are never dropped, and those that are stored twice replace each other. A batch that the engine refuses is
 * halved until the parcel at fault stands alone; only its write() is rejected.
 */
export class Batcher {
  readonly #insert: Insert
  readonly #limits: BatcherLimits
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #now: () => number
  readonly #room: Room
  readonly #gathering: Gathering<Held>
  readonly #givenUp = new AbortController()
  readonly #idle: (() => void)[] = []
  #inFlight = 0
  /** Tables that take no second batch until the first is stored. */
  readonly #busy = new Set<TableName>()
  #timer: NodeJS.Timeout | undefined
  /** When the timer goes off, on the clock of `now`; undefined when none is set. */
  #timerAtMs: number | undefined
  #flushing = false
  /** Batches in flight whose last insert failed. */
  #failing = 0

  constructor(options: BatcherOptions) {
    this.#insert = options.insert
    this.#limits = options.limits
    this.#metrics = options.metrics
    this.#log = options.log
    this.#now = options.now
    this.#gathering = new Gathering(options.limits)
    this.#room = new Room({ rowsMax: options.limits.bufferRowsMax, bytesMax: options.limits.bufferBytesMax })
  }

  /** False while a batch is being repeated because its insert failed. */
  get healthy(): boolean {
    return this.#failing === 0
  }

  get bufferedRows(): number {
    return this.#room.rows
  }

  /** Calls of write() that wait for room. */
  get waitingWrites(): number {
    return this.#room.waiting
  }

  /**
   * Resolves when every parcel is stored. Rejects with RowsRejectedError, or with an AbortError when `signal` is aborted or
   * the batcher stops; rows that were admitted before an abort are still written, which is harmless: they are idempotent.
   */
  async write(parcels: readonly Parcel[], signal: AbortSignal): Promise<void> {
    if (parcels.length === 0) return
    const load = loadOf(parcels)
    if (signal.aborted) throw abortError(signal)
    if (!this.#room.tryEnter(load)) {
      await this.#room.enter(load, signal)
      if (signal.aborted) {
        this.#room.leave(load)
        throw abortError(signal)
      }
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const ticket: Ticket = { pending: parcels.length, resolve, reject }
    for (const parcel of parcels) {
      this.#gathering.add({ parcel, ticket }, this.#now())
      this.#metrics.rows_buffered.inc({ table: parcel.table }, parcel.rows)
    }
    this.#pump()

    const forget = onAbort(signal, () => reject(abortError(signal)))
    try {
      await promise
    } finally {
      forget()
    }
  }

  /**
   * Sends what is held without waiting for its age, refuses new writes, and resolves when all is stored. After `timeoutMs`
   * it gives up: the writes that are left reject with an AbortError, their rows were not acknowledged.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.#flushing = true
    this.#room.close()
    this.#pump()
    if (this.#room.rows === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle.push(resolve)
    const deadline = setTimeout(() => {
      this.#log.warn(
        { rows: this.#room.rows },
        'rows could not be written before the end; their jobs are not acknowledged',
      )
      this.#givenUp.abort(abortError())
    }, timeoutMs)
    await promise
    clearTimeout(deadline)
  }

  /** Sends what is ready while there is a place, then sets the timer for the next one that gets old. */
  #pump(): void {
    while (this.#inFlight < this.#limits.inFlightMax) {
      const batch = this.#gathering.take(this.#now(), this.#flushing, this.#busy)
      if (batch === undefined) break
      this.#inFlight += 1
      if (ONE_AT_A_TIME.has(batch.table)) this.#busy.add(batch.table)
      void this.#send(batch.table, batch.items).finally(() => {
        this.#inFlight -= 1
        this.#busy.delete(batch.table)
        this.#pump()
      })
    }
    // While every place is taken, the end of an insert pumps.
    const full = this.#inFlight >= this.#limits.inFlightMax
    const atMs = full ? undefined : this.#gathering.nextOldAtMs(this.#busy)
    // Every write comes by here; setting a timer costs as much as the rest of it.
    if (atMs === this.#timerAtMs) return
    clearTimeout(this.#timer)
    this.#timerAtMs = atMs
    if (atMs === undefined) return
    const onTime = () => {
      this.#timerAtMs = undefined
      this.#pump()
    }
    this.#timer = setTimeout(onTime, Math.ceil(Math.max(0, atMs - this.#now())))
  }

  /** Never rejects: every ticket is told, every row leaves the room. */
  async #send(table: TableName, held: readonly Held[]): Promise<void> {
    const load = loadOf(held.map(({ parcel }) => parcel))
    const text = held.map(({ parcel }) => parcel.text).join('')
    const failure = await this.#insertUntilAnswered({ table, rows: load.rows, text })
    if (failure instanceof RowsRejectedError && held.length > 1) {
      const half = held.length >> 1
      await this.#send(table, held.slice(0, half))
      await this.#send(table, held.slice(half))
      return
    }
    this.#metrics.rows_buffered.dec({ table }, load.rows)
    this.#room.leave(load)
    if (failure === undefined) {
      this.#metrics.rows_written_total.inc({ table }, load.rows)
      this.#metrics.row_batch_rows.observe({ table }, load.rows)
    }
    for (const { ticket } of held) {
      if (failure !== undefined) ticket.reject(failure)
      ticket.pending -= 1
      if (ticket.pending === 0) ticket.resolve()
    }
    if (this.#room.rows === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Undefined when the batch is stored; RowsRejectedError when it is refused; an AbortError when stop() gave up. */
  async #insertUntilAnswered(batch: Batch): Promise<Error | undefined> {
    const { signal } = this.#givenUp
    for (let failures = 0; !signal.aborted; failures += 1) {
      const startedMs = this.#now()
      try {
        const answer = await this.#insert(batch, signal)
        this.#observe('ok', startedMs)
        if (failures > 0) this.#recovered(batch, failures)
        if (answer.status === 'stored') return undefined
        return new RowsRejectedError(
          `ClickHouse refuses rows of this job for ${batch.table}: ${messageOf(answer.message)}`,
        )
      } catch (error) {
        if (signal.aborted) break
        this.#observe('error', startedMs)
        if (failures === 0) this.#failed(batch, error)
      }
      const { backoffMsMin, backoffMsMax } = this.#limits
      const ceilingMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(failures, 20))
      // Half of it is random, so that ten daemons do not come back in step.
      await sleep(ceilingMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
    }
    return abortError(signal)
  }

  #observe(outcome: 'ok' | 'error', startedMs: number): void {
    this.#metrics.row_flush_duration_seconds.observe({ outcome }, (this.#now() - startedMs) / 1000)
  }

  #failed(batch: Batch, error: unknown): void {
    this.#failing += 1
    const fields = { table: batch.table, rows: batch.rows, error: messageOf(error, 500) }
    this.#log.warn(fields, 'an insert failed; its rows are kept and it is repeated until it succeeds')
  }

  #recovered(batch: Batch, failures: number): void {
    this.#failing -= 1
    this.#log.info({ table: batch.table, rows: batch.rows, failures }, 'the insert succeeded at last')
  }
}

function loadOf(parcels: readonly Parcel[]): { rows: number; bytes: number } {
  let rows = 0
  let bytes = 0
  for (const parcel of parcels) {
    rows += parcel.rows
    bytes += parcel.bytes
  }
  return { rows, bytes }
}
