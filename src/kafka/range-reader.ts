import { randomUUID } from 'node:crypto'
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs'
import type { SourceRecord } from '../job/record.ts'
import { onAbort } from '../lib/abort.ts'
import { within } from '../lib/within.ts'
import { RETRY, translate, withAdmin } from './client.ts'
import { coordinatorReady } from './coordinator.ts'
import { fromMessage } from './from-message.ts'
import type { OffsetRange } from './offset-range.ts'

export interface RangeReaderOptions {
  readonly brokers: readonly string[]
  /** What the throw-away group's name begins with: rights are often given by prefix. */
  readonly groupPrefix: string
  readonly topics: readonly string[]
  /** How long a fetch waits at an end, and what a reading after another may lag. Default 100. */
  readonly fetchWaitMs?: number
  /** Default 20,000: brokers hold a new group's first join for 3 s by default. */
  readonly joinTimeoutMs?: number
  /** Without a reply for this long the broker is away. Default 15,000. */
  readonly silenceMsMax?: number
}

interface Range extends OffsetRange {
  next: number
}

interface Reading {
  readonly ranges: Map<string, Range>
  readonly take: (record: SourceRecord) => void | Promise<void>
  readonly signal: AbortSignal
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
  /** A `take` that is under way; fulfilled whatever becomes of it. */
  taking: Promise<void> | undefined
}

const HEARTBEAT_MS = 3_000
const STOP_TIMEOUT_MS = 5_000
/** After so many fetches in a row that waited in vain, at every node, there is nothing to come. The first may be without the range. */
const EMPTY_FETCHES_MAX = 6

/**
 * Reads given ranges of topics, each record once and in order, and stops at their ends. kafkajs reads only as a member of a
 * group: this one is thrown away afterwards, and nothing is ever committed. It joins at the first reading that has anything to
 * read, and stays for later ones.
 *
 * A range ends where its last offset has been passed. Offsets at its end may hold no record any more (compaction, expiry, marks
 * of transactions), so it also ends when fetches wait for it in vain.
 */
export class RangeReader {
  readonly groupId: string
  readonly #options: Required<RangeReaderOptions>
  readonly #kafka: Kafka
  readonly #closed = new AbortController()
  #consumer: Consumer | undefined
  #joined: Promise<void> | undefined
  #reading: Reading | undefined
  /** By node: how many fetches in a row waited their whole time and brought nothing. */
  readonly #emptyFetches = new Map<number, number>()
  /** When a broker last replied, on the clock of `performance`. */
  #repliedMs = 0
  /** A batch that was handed over but not read: its place is to be read again. */
  #unread: string | undefined
  #stopped: Promise<void> | undefined

  constructor(options: RangeReaderOptions, kafka: Kafka) {
    this.#options = { fetchWaitMs: 100, joinTimeoutMs: 20_000, silenceMsMax: 15_000, ...options }
    this.#kafka = kafka
    this.groupId = `${options.groupPrefix}-${randomUUID()}`
  }

  /**
   * Resolves when all ranges have been read. While `take` works nothing more is read, for as long as it likes. One reading at a
   * time. Rejects with what `take` rejects with, the signal's reason, or ServiceAwayError when no broker answers any more.
   */
  async read(ranges: readonly OffsetRange[], take: Reading['take'], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const open = ranges.filter(({ from, to }) => from < to)
    if (open.length === 0) return
    if (this.#reading !== undefined) throw new TypeError('one reading at a time')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => undefined)
    const reading: Reading = {
      ranges: new Map(open.map((range) => [keyOf(range), { ...range, next: range.from }])),
      take,
      signal,
      resolve,
      reject,
      taking: undefined,
    }
    this.#reading = reading
    const forget = onAbort(signal, () => reject(signal.reason))
    let watch: NodeJS.Timeout | undefined
    try {
      const isFirst = this.#joined === undefined
      this.#joined ??= this.#join(signal)
      await this.#joined
      // The first reading is placed when the group is joined, before anything is fetched.
      if (!isFirst) this.#place(reading)
      watch = this.#watch(reading)
      await promise
    } catch (error) {
      throw signal.aborted ? signal.reason : error
    } finally {
      forget()
      clearInterval(watch)
      await reading.taking
      for (const { topic, partition } of reading.ranges.values()) this.#pause(topic, partition)
      this.#reading = undefined
    }
  }

  /** Leaves the group and deletes it, in bounded time. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    await this.#stopped
  }

  async #stop(): Promise<void> {
    this.#closed.abort(new Error('stopped'))
    const consumer = this.#consumer
    if (consumer === undefined) return
    await within(consumer.disconnect(), STOP_TIMEOUT_MS, () => new Error('late')).catch(() => undefined)
    const { brokers } = this.#options
    // An empty group without offsets would expire by itself; this is tidiness.
    await withAdmin(
      this.#kafka,
      brokers,
      async (admin) => void (await admin.deleteGroups([this.groupId])),
      STOP_TIMEOUT_MS,
    ).catch(() => undefined)
  }

  async #join(signal: AbortSignal): Promise<void> {
    const { brokers, topics, fetchWaitMs, joinTimeoutMs } = this.#options
    const consumer = this.#kafka.consumer({
      groupId: this.groupId,
      sessionTimeout: 30_000,
      heartbeatInterval: HEARTBEAT_MS,
      maxWaitTimeInMs: fetchWaitMs,
      maxBytes: 4 * 1024 * 1024,
      allowAutoTopicCreation: false,
      retry: RETRY,
    })
    this.#consumer = consumer
    const placed = this.#listen(consumer)
    const giveUp = AbortSignal.any([signal, this.#closed.signal, AbortSignal.timeout(joinTimeoutMs)])
    const joining = async () => {
      await withAdmin(
        this.#kafka,
        brokers,
        (admin) => coordinatorReady(admin, this.groupId, topics, giveUp),
        joinTimeoutMs,
      )
      giveUp.throwIfAborted()
      await consumer.connect()
      await consumer.subscribe({ topics: [...topics], fromBeginning: true })
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: true,
        eachBatch: (payload) => this.#onBatch(payload),
      })
      await placed
    }
    const aborted = Promise.withResolvers<never>()
    const forget = onAbort(signal, () => aborted.reject(signal.reason))
    try {
      await within(
        Promise.race([joining(), aborted.promise]),
        joinTimeoutMs,
        () => new Error(`no group after ${joinTimeoutMs} ms`),
      )
    } catch (error) {
      throw signal.aborted ? signal.reason : translate(error, brokers)
    } finally {
      forget()
    }
  }

  /** Resolves when the group is joined for the first time. */
  #listen(consumer: Consumer): Promise<void> {
    const { GROUP_JOIN, CRASH, FETCH_START, FETCH, END_BATCH_PROCESS } = consumer.events
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => undefined)
    consumer.on(GROUP_JOIN, ({ payload }) => {
      this.#emptyFetches.clear()
      for (const [topic, partitions] of Object.entries(payload.memberAssignment)) {
        for (const partition of partitions) this.#pause(topic, partition)
      }
      // Also after a session was lost: it goes on where it was.
      if (this.#reading !== undefined) this.#place(this.#reading)
      resolve()
    })
    consumer.on(CRASH, ({ payload }) => {
      const error = translate(payload.error, this.#options.brokers)
      reject(error)
      this.#reading?.reject(error)
    })
    // Told of batches too that are empty after filtering, and never reach eachBatch.
    consumer.on(END_BATCH_PROCESS, ({ payload: { topic, partition, lastOffset } }) => {
      const key = keyOf({ topic, partition })
      const range = this.#reading?.ranges.get(key)
      const wasRead = this.#unread !== key
      this.#unread = undefined
      if (range !== undefined && wasRead) this.#passed(range, Number(lastOffset) + 1)
    })
    consumer.on(FETCH_START, ({ payload: { nodeId } }) => {
      if (!this.#emptyFetches.has(nodeId)) this.#emptyFetches.set(nodeId, 0)
    })
    consumer.on(FETCH, ({ payload }) => this.#onFetch(payload.nodeId, payload.duration))
    return promise
  }

  /** kafkajs tries for minutes to reach a broker that is away, and says nothing. */
  #watch(reading: Reading): NodeJS.Timeout {
    const { silenceMsMax, brokers } = this.#options
    this.#repliedMs = performance.now()
    return setInterval(() => {
      if (reading.taking !== undefined || performance.now() - this.#repliedMs < silenceMsMax) return
      reading.reject(translate(new Error(`no reply for ${silenceMsMax} ms`), brokers))
    }, silenceMsMax / 10)
  }

  #place(reading: Reading): void {
    this.#moved()
    for (const { topic, partition, next } of reading.ranges.values()) {
      this.#consumer?.seek({ topic, partition, offset: String(next) })
      this.#consumer?.resume([{ topic, partitions: [partition] }])
    }
  }

  #pause(topic: string, partition: number): void {
    try {
      this.#consumer?.pause([{ topic, partitions: [partition] }])
    } catch {
      // kafkajs has no group any more: nothing is read either.
    }
  }

  async #onBatch({ batch, heartbeat, isRunning, isStale }: EachBatchPayload): Promise<void> {
    const reading = this.#reading
    const range = reading?.ranges.get(keyOf(batch))
    if (reading === undefined || range === undefined || isStale()) {
      this.#unread = keyOf(batch)
      return
    }
    // kafkajs beats only between batches, and `take` may be paced.
    const beat = setInterval(() => heartbeat().catch(() => undefined), HEARTBEAT_MS)
    try {
      for (const message of batch.messages) {
        if (!isRunning() || reading.signal.aborted || this.#reading !== reading) {
          this.#unread = keyOf(batch)
          return
        }
        const offset = Number(message.offset)
        if (offset < range.next) continue
        if (offset >= range.to) break
        range.next = offset + 1
        const { topic, partition } = range
        const taken = reading.take(fromMessage({ topic, partition }, message))
        if (taken === undefined) continue
        reading.taking = taken.catch(() => undefined)
        await taken
        reading.taking = undefined
        this.#repliedMs = performance.now()
      }
    } catch (error) {
      // Not for kafkajs, which would begin the batch again.
      this.#unread = keyOf(batch)
      reading.reject(error)
    } finally {
      clearInterval(beat)
    }
  }

  #passed(range: Range, next: number): void {
    const reading = this.#reading
    if (reading === undefined) return
    this.#moved()
    range.next = Math.max(range.next, next)
    if (range.next < range.to || !reading.ranges.delete(keyOf(range))) return
    this.#pause(range.topic, range.partition)
    if (reading.ranges.size === 0) reading.resolve()
  }

  /** A fetch that waits its whole time proves that nothing stands behind the places it asked for; one that failed is shorter. */
  #onFetch(nodeId: number, durationMs: number): void {
    if (this.#reading === undefined) return
    const waited = durationMs >= this.#options.fetchWaitMs * 0.9
    if (waited) this.#repliedMs = performance.now()
    this.#emptyFetches.set(nodeId, waited ? (this.#emptyFetches.get(nodeId) ?? 0) + 1 : 0)
    const counts = [...this.#emptyFetches.values()]
    if (counts.every((count) => count >= EMPTY_FETCHES_MAX)) this.#reading.resolve()
  }

  #moved(): void {
    this.#repliedMs = performance.now()
    for (const nodeId of this.#emptyFetches.keys()) this.#emptyFetches.set(nodeId, 0)
  }
}

function keyOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}/${partition}`
}
