import type { Admin, Consumer, EachBatchPayload, Kafka } from 'kafkajs'
import { MillraceError, messageOf } from '../job/errors.ts'
import { RETRY, translate } from '../kafka/client.ts'
import { coordinatorReady } from '../kafka/coordinator.ts'
import { fromMessage } from '../kafka/from-message.ts'
import { within } from '../lib/within.ts'
import type { Log } from '../telemetry/log.ts'
import { Assignments, type Changes } from './assignments.ts'
import { committedBeyond } from './committed-beyond.ts'
import { KafkaLag } from './kafka-lag.ts'
import type { KafkaSourceOptions } from './kafka-source-options.ts'
import {
  type Partition,
  type PartitionLag,
  type Position,
  partitionKey,
  type Source,
  type SourceHandlers,
} from './source.ts'

/** Leaving the group is a courtesy: without an answer in this time we go, and the session times out. */
const STOP_TIMEOUT_MS = 5_000

/**
 * Of one partition in one fetch: what may wait here to be handed out. A record that is larger still comes, alone.
 */
const PARTITION_BYTES_MAX = 256 * 1024

/**
 * The kafkajs adapter of the intake port.
 *
 * - `eachBatch` hands the records over and returns at once: kafkajs beats only between batches.
 * - Auto-commit is off. Commits go through the function that kafkajs gives to eachBatch: it sends them once, under the
 *   generation of this moment, and says when they failed. `consumer.commitOffsets` would repeat a failed commit under a later
 *   generation, where the partition may be somebody else's, and drops it without a word while the consumer stops.
 * - GROUP_JOIN is the truth about ownership (see Assignments). Kept partitions are read on where they were, instead of being
 *   rewound to the committed place; should kafkajs rewind nevertheless, the ledger ignores what it knows.
 * - CRASH with `restart: false` means that kafkajs has given up: fatal. With `restart: true` it comes back by itself.
 */
export class KafkaSource implements Source {
  readonly #options: KafkaSourceOptions
  readonly #log: Log
  readonly #consumer: Consumer
  readonly #admin: Admin
  readonly #assignments = new Assignments()
  readonly #lag: KafkaLag
  readonly #paused = new Map<string, Partition>()
  #handlers: SourceHandlers | undefined
  #commitNow: EachBatchPayload['commitOffsetsIfNecessary'] | undefined
  /** Aborted by stop, for a start that is under way. */
  readonly #unwanted = new AbortController()
  #brokerTakesBeyond = true
  /** Assigned, and not told yet: what was finished of them is still being asked for. */
  readonly #pending = new Map<string, Partition>()
  #running = false
  #stopping: Promise<void> | undefined

  constructor(options: KafkaSourceOptions, kafka: Kafka, log: Log) {
    this.#options = options
    this.#log = log
    this.#consumer = kafka.consumer({
      groupId: options.groupId,
      sessionTimeout: options.sessionTimeoutMs ?? 30_000,
      heartbeatInterval: options.heartbeatIntervalMs ?? 3_000,
      rebalanceTimeout: options.rebalanceTimeoutMs ?? 60_000,
      maxWaitTimeInMs: options.fetchWaitMs ?? 250,
      maxBytes: options.fetchBytesMax ?? 4 * 1024 * 1024,
      maxBytesPerPartition: PARTITION_BYTES_MAX,
      allowAutoTopicCreation: false,
      retry: RETRY,
    })
    this.#admin = kafka.admin({ retry: { ...RETRY, retries: 2 } })
    this.#lag = new KafkaLag(options, { admin: this.#admin, assignments: this.#assignments, log })
  }

  /** Rejects with ServiceAwayError within `startTimeoutMs`. Assignments come later, by the handlers. */
  async start(handlers: SourceHandlers): Promise<void> {
    if (this.#handlers !== undefined) return
    this.#handlers = handlers
    this.#listen(handlers)
    try {
      await within(
        this.#connect(),
        this.#options.startTimeoutMs ?? 15_000,
        () => new Error('no answer in time'),
      )
    } catch (error) {
      await this.stop()
      throw translate(error, this.#options.brokers)
    }
    this.#running = true
    this.#lag.start()
  }

  pause(partitions: readonly Partition[]): void {
    for (const partition of partitions) this.#paused.set(partitionKey(partition), partition)
    if (this.#running) this.#consumer.pause(partitions.map(named))
  }

  resume(partitions: readonly Partition[]): void {
    for (const partition of partitions) this.#paused.delete(partitionKey(partition))
    const known = partitions.filter((partition) => !this.#pending.has(partitionKey(partition)))
    if (this.#running) this.#consumer.resume(known.map(named))
  }

  async commit(positions: readonly Position[]): Promise<readonly Position[]> {
    const owned = positions.filter((position) => this.#assignments.owns(position, position.epoch))
    if (owned.length === 0) return []
    if (this.#commitNow === undefined) throw new Error('not a member of the group at the moment')
    const byTopic = new Map<string, { partition: number; offset: string; metadata: string | null }[]>()
    for (const { topic, partition, offset, beyond } of owned) {
      const partitions = byTopic.get(topic) ?? []
      partitions.push({
        partition,
        offset: String(offset),
        metadata: beyond === '' || !this.#brokerTakesBeyond ? null : beyond,
      })
      byTopic.set(topic, partitions)
    }
    try {
      await this.#commitNow({ topics: [...byTopic].map(([topic, partitions]) => ({ topic, partitions })) })
    } catch (error) {
      if (this.#brokerTakesBeyond && (error as { type?: unknown }).type === 'OFFSET_METADATA_TOO_LARGE') {
        this.#brokerTakesBeyond = false
        this.#log.warn(
          'the broker takes less than 4,096 characters beside an offset (offset.metadata.max.bytes): more is repeated after a rebalance',
        )
      }
      throw error
    }
    for (const position of owned) this.#assignments.committed(position)
    return owned
  }

  lag(): readonly PartitionLag[] {
    return this.#assignments.lag()
  }

  backlog(topic: string): number | undefined {
    return this.#lag.backlog(topic)
  }

  exhausted(): Promise<boolean> {
    return Promise.resolve(false)
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#close()
    await this.#stopping
  }

  async #close(): Promise<void> {
    this.#running = false
    this.#unwanted.abort(new Error('stopped while starting'))
    const closing = Promise.allSettled([this.#consumer.disconnect(), this.#closeAdmin()])
    await within(closing, STOP_TIMEOUT_MS, () => new Error('late')).catch(() => {
      this.#log.warn('kafka did not answer while leaving the group; the session will time out by itself')
    })
    this.#commitNow = undefined
    this.#tell({ lost: this.#assignments.clear(), assigned: [] })
  }

  /** A request that is still under way would make kafkajs connect again behind our back. */
  async #closeAdmin(): Promise<void> {
    await this.#lag.stop()
    await this.#admin.disconnect()
  }

  async #connect(): Promise<void> {
    await this.#admin.connect()
    await coordinatorReady(this.#admin, this.#options.groupId, this.#options.topics, this.#unwanted.signal)
    await this.#consumer.connect()
    this.#unwanted.signal.throwIfAborted()
    await this.#consumer.subscribe({
      topics: [...this.#options.topics],
      fromBeginning: (this.#options.from ?? 'earliest') === 'earliest',
    })
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: true,
      // Async only in type: everything is done when it returns.
      eachBatch: (payload) => {
        this.#onBatch(payload)
        return Promise.resolve()
      },
    })
    // Stopped while joining: kafkajs joined nevertheless, so it has to leave again.
    if (this.#stopping !== undefined) await this.#consumer.disconnect()
  }

  #listen(handlers: SourceHandlers): void {
    const { GROUP_JOIN, REBALANCING, CRASH } = this.#consumer.events
    this.#consumer.on(REBALANCING, () => handlers.onRebalance('started'))
    this.#consumer.on(GROUP_JOIN, ({ payload }) => {
      if (this.#stopping !== undefined) return
      const changes = this.#assignments.joined(payload.memberId, payload.memberAssignment)
      this.#running = true
      // kafkajs rewinds kept partitions to the committed place; we know better where to read on.
      for (const { topic, partition, next } of changes.kept) {
        if (next !== undefined) this.#consumer.seek({ topic, partition, offset: String(next) })
      }
      this.#tell({ lost: changes.lost, assigned: [] })
      for (const partition of changes.assigned) this.#pending.set(partitionKey(partition), partition)
      this.#restorePauses()
      void this.#assign(changes.assigned)
    })
    this.#consumer.on(CRASH, ({ payload }) => {
      this.#commitNow = undefined
      this.#running = false
      if (this.#stopping !== undefined) return
      handlers.onRebalance('started')
      if (payload.restart) {
        this.#log.warn({ reason: messageOf(payload.error, 300) }, 'kafka is away; the consumer tries again')
        return
      }
      handlers.onFatal(
        new MillraceError(
          'KAFKA_CONSUMER',
          `The Kafka consumer ended (${messageOf(payload.error, 500)}): start again`,
          {
            cause: payload.error,
          },
        ),
      )
    })
  }

  #tell(changes: Pick<Changes, 'lost' | 'assigned'>): void {
    for (const { epoch, ...partition } of changes.lost) {
      this.#paused.delete(partitionKey(partition))
      // Who was never told of it has nothing to lose.
      if (!this.#pending.delete(partitionKey(partition))) this.#handlers?.onLost(partition, epoch)
    }
    for (const { epoch, ...partition } of changes.assigned) this.#handlers?.onAssigned(partition, epoch)
  }

  /** Tells of new assignments, with what had been finished of them; until that is known they stay paused. */
  async #assign(assigned: Changes['assigned']): Promise<void> {
    const beyond = await committedBeyond(this.#admin, this.#options.groupId, assigned, this.#log)
    if (this.#stopping !== undefined) return
    for (const { epoch, ...partition } of assigned) {
      const key = partitionKey(partition)
      // Lost in the meantime, and perhaps assigned again: that is another one's turn to tell.
      if (!this.#assignments.owns(partition, epoch) || !this.#pending.delete(key)) continue
      this.#handlers?.onAssigned(partition, epoch, beyond.get(key))
    }
    this.#restorePauses()
    if (this.#pending.size === 0) this.#handlers?.onRebalance('finished')
  }

  /** A consumer that restarted after a crash has forgotten them, and a lost partition must not come back paused. */
  #restorePauses(): void {
    for (const partition of this.#assignments.all()) {
      const key = partitionKey(partition)
      if (this.#paused.has(key) || this.#pending.has(key)) this.#consumer.pause([named(partition)])
      else this.#consumer.resume([named(partition)])
    }
  }

  #onBatch(payload: EachBatchPayload): void {
    const { batch } = payload
    this.#commitNow = payload.commitOffsetsIfNecessary
    const partition = { topic: batch.topic, partition: batch.partition }
    const end = Number(batch.highWatermark)
    if (this.#assignments.wasCut(partition, end)) {
      this.#log.warn(
        { ...partition, end },
        'the partition ends before the place we had read: it was made anew, reading it afresh',
      )
      const renewed = this.#assignments.renew(partition)
      if (renewed !== undefined) this.#tell(renewed)
      this.#restorePauses()
    }
    const epoch = this.#assignments.epochOf(partition)
    if (epoch === undefined) return
    if (this.#pending.has(partitionKey(partition))) {
      // On its way when the partition was paused: it will be read again.
      const first = batch.firstOffset()
      if (first !== null) this.#consumer.seek({ ...partition, offset: first })
      return
    }
    const next = Number(batch.lastOffset()) + 1
    this.#assignments.read(partition, next, end)
    const records = batch.messages.map((message) => fromMessage(partition, message))
    this.#handlers?.onRecords(partition, epoch, records, next)
  }
}

function named({ topic, partition }: Partition): { topic: string; partitions: number[] } {
  return { topic, partitions: [partition] }
}
