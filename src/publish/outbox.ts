import { MillraceError, messageOf } from '../job/errors.ts'
import type { OutRecord } from '../job/record.ts'
import { onAbort } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'

export interface OutboxOptions {
  /** How long a first record waits for company. 0: not at all (what comes while a batch is written is the next batch). */
  readonly lingerMs: number
  readonly batchRecordsMax: number
  readonly batchBytesMax: number
  /** Bytes of records that are queued; callers above it wait outside. */
  readonly bufferBytesMax: number
}

/** What became of a batch. `away`: not taken, try again later. `refused`: never will be, for what it is. */
export type Sent = 'ok' | { readonly away: Error } | { readonly refused: Error }

interface Entry {
  readonly records: readonly OutRecord[]
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
  /** How many of the records are acknowledged. */
  done: number
  /** The caller has gone, or one of its records was refused. */
  ended: boolean
}

/** The part of a call that is in a batch: `count` records from its first unacknowledged one on. */
interface Slice {
  readonly entry: Entry
  readonly count: number
}

const BACK_OFF_FIRST_MS = 100
const BACK_OFF_MAX_MS = 5_000

/**
 * The queue of one topic: gathers the records of concurrent calls into batches, one batch on its way at a time, in order.
 * A batch that cannot be sent is sent again, with growing pauses, for as long as anybody waits for it; one that is refused
 * is taken apart, so that only the record at fault is refused.
 */
export class Outbox {
  readonly topic: string
  readonly #options: OutboxOptions
  readonly #send: (topic: string, records: readonly OutRecord[]) => Promise<Sent>
  readonly #log: Log
  readonly #roomWaiters: (() => void)[] = []
  #entries: Entry[] = []
  #bytes = 0
  #records = 0
  #away: Error | undefined
  #running: Promise<void> | undefined
  #wakeUp: (() => void) | undefined
  #closing = false

  constructor(
    topic: string,
    options: OutboxOptions,
    send: (topic: string, records: readonly OutRecord[]) => Promise<Sent>,
    log: Log,
  ) {
    this.topic = topic
    this.#options = options
    this.#send = send
    this.#log = log
  }

  /** Why the last batch was not taken; undefined while all is well. */
  get away(): Error | undefined {
    return this.#away
  }

  /** Somebody found out by other means that the service is back. */
  forgetAway(): void {
    if (this.isEmpty) this.#away = undefined
  }

  /** True when nobody waits for anything. */
  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** Resolves when all records are acknowledged; rejects with the signal's reason, or when one of them is refused. */
  async publish(records: readonly OutRecord[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (records.length === 0) return
    const bytes = records.reduce((sum, record) => sum + sizeOf(record), 0)
    while (this.#bytes > 0 && this.#bytes + bytes > this.#options.bufferBytesMax) await this.#room(signal)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const entry: Entry = { records, bytes, resolve, reject, done: 0, ended: false }
    const abandon = () => {
      entry.ended = true
      reject(signal.reason)
      // Nothing may be left that anybody waits for: then there is no need to wait for the next attempt either.
      this.#wakeUp?.()
    }
    const forget = onAbort(signal, abandon)
    this.#entries.push(entry)
    this.#bytes += bytes
    this.#records += records.length
    if (this.#isBatchFull()) this.#wakeUp?.()
    this.#running ??= this.#run()
    try {
      await promise
    } finally {
      forget()
    }
  }

  /** Resolves when what is queued is sent. With `giveUp`, what cannot be sent is rejected when it is aborted. */
  async flush(giveUp: AbortSignal): Promise<void> {
    this.#closing = true
    this.#wakeUp?.()
    const abandon = () => {
      for (const entry of this.#entries) {
        entry.ended = true
        entry.reject(
          new MillraceError('PUBLISH_GIVEN_UP', `stopped while ${this.topic} could not be written`),
        )
      }
      this.#wakeUp?.()
    }
    giveUp.addEventListener('abort', abandon, { once: true })
    await this.#running
    giveUp.removeEventListener('abort', abandon)
  }

  async #run(): Promise<void> {
    let pauseMs = BACK_OFF_FIRST_MS
    /** So many records are sent one by one, to find the one at fault. */
    let alone = 0
    if (!this.#closing && !this.#isBatchFull()) await this.#sleep(this.#options.lingerMs)
    for (;;) {
      const slices = this.#nextBatch(alone > 0 ? 1 : this.#options.batchRecordsMax)
      if (slices.length === 0) break
      const batch = slices.flatMap(({ entry, count }) => entry.records.slice(entry.done, entry.done + count))
      const sent = await this.#send(this.topic, batch)
      if (sent === 'ok' || 'refused' in sent) {
        if (this.#away !== undefined) this.#log.info({ topic: this.topic }, 'publishing again')
        this.#away = undefined
        pauseMs = BACK_OFF_FIRST_MS
        if (sent !== 'ok' && batch.length > 1) alone = batch.length
        else {
          alone = Math.max(0, alone - 1)
          this.#settle(slices, sent)
        }
        continue
      }
      if (this.#away === undefined) {
        this.#log.warn(
          { topic: this.topic, reason: messageOf(sent.away, 300) },
          'cannot publish, trying again',
        )
      }
      this.#away = sent.away
      await this.#sleep(pauseMs * (0.5 + Math.random() / 2))
      pauseMs = Math.min(pauseMs * 2, BACK_OFF_MAX_MS)
    }
    this.#running = undefined
  }

  /** The oldest unacknowledged records of those who still wait, up to the bounds and at least one. */
  #nextBatch(recordsMax: number): Slice[] {
    this.#sweep()
    const slices: Slice[] = []
    let records = 0
    let bytes = 0
    for (const entry of this.#entries) {
      let count = 0
      for (const record of entry.records.slice(entry.done)) {
        bytes += sizeOf(record)
        if (records > 0 && (records >= recordsMax || bytes > this.#options.batchBytesMax)) break
        records += 1
        count += 1
      }
      if (count > 0) slices.push({ entry, count })
      if (entry.done + count < entry.records.length) break
    }
    return slices
  }

  /** A refused batch is a single record here; it ends its whole call. */
  #settle(slices: readonly Slice[], sent: 'ok' | { readonly refused: Error }): void {
    for (const { entry, count } of slices) {
      entry.done += count
      if (sent !== 'ok') {
        entry.ended = true
        entry.reject(sent.refused)
      } else if (entry.done === entry.records.length) {
        entry.ended = true
        entry.resolve()
      }
    }
    this.#sweep()
  }

  /** Forgets what has ended, and lets those in who wait for room. */
  #sweep(): void {
    const left = this.#entries.filter((entry) => !entry.ended)
    if (left.length === this.#entries.length) return
    this.#entries = left
    this.#bytes = left.reduce((sum, entry) => sum + entry.bytes, 0)
    this.#records = left.reduce((sum, entry) => sum + entry.records.length - entry.done, 0)
    for (const letIn of this.#roomWaiters.splice(0)) letIn()
  }

  #isBatchFull(): boolean {
    return this.#records >= this.#options.batchRecordsMax || this.#bytes >= this.#options.batchBytesMax
  }

  /** Waits until something has left the buffer. Those who wait hold their own records, so their number is the caller's bound. */
  async #room(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#roomWaiters.push(resolve)
    const forget = onAbort(signal, resolve)
    await promise
    forget()
    signal.throwIfAborted()
  }

  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      // Even 0 goes through the loop once, so that calls of this very moment share a batch.
      const timer = setTimeout(resolve, ms)
      this.#wakeUp = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wakeUp = undefined
  }
}

function sizeOf(record: OutRecord): number {
  let bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0) + 64
  for (const name of Object.keys(record.headers)) {
    const value = record.headers[name]!
    for (const one of Buffer.isBuffer(value) ? [value] : value) bytes += name.length + one.length
  }
  return bytes
}
