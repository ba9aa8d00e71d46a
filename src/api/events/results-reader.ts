import type { Admin, Consumer, EachBatchPayload, Kafka } from 'kafkajs'
import { messageOf } from '../../job/errors.ts'
import { type ResultMessage, resultSchema } from '../../job/outcome.ts'
import { RETRY, translate, withAdmin } from '../../kafka/client.ts'
import { sleep } from '../../lib/abort.ts'
import { within } from '../../lib/within.ts'
import type { Log } from '../../telemetry/log.ts'
import type { EventSource } from './event-log.ts'

export interface ResultsReaderOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  /** Processes that share their events share the group too: each result is told once. */
  readonly group: string
}

export type OnResult = (result: ResultMessage, source: EventSource) => Promise<void>

const RETRY_MS = 500
/** Below the patience of `withAdmin`. */
const TRIES_MAX = 15
/** Leaving the group is a courtesy: without an answer in this time we go, and the session times out. */
const STOP_MS_MAX = 5_000

/**
 * Reads the results topic and hands each result on, in the order of its partition. An offset is committed when its results
 * have been taken; while they cannot be, it waits. A group that is new begins at the end of each partition as it is at `start`, and
 * says so at once: what comes while nobody runs is told later.
 */
export class ResultsReader {
  readonly #options: ResultsReaderOptions
  readonly #kafka: Kafka
  readonly #consumer: Consumer
  readonly #onResult: OnResult
  readonly #log: Log
  readonly #stopping = new AbortController()
  #started: Promise<void> | undefined
  #joined = false

  constructor(options: ResultsReaderOptions, kafka: Kafka, onResult: OnResult, log: Log) {
    this.#options = options
    this.#onResult = onResult
    this.#log = log
    this.#kafka = kafka
    this.#consumer = kafka.consumer({
      groupId: options.group,
      maxWaitTimeInMs: 200,
      sessionTimeout: 15_000,
      heartbeatInterval: 2_000,
      allowAutoTopicCreation: false,
      retry: RETRY,
    })
  }

  /** True while results arrive, or would. */
  get healthy(): boolean {
    return this.#joined
  }

  /** Rejects with ServiceAwayError when no broker answers. Joining the group goes on in the background. */
  start(): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  async #start(): Promise<void> {
    const { topic, brokers } = this.#options
    const { GROUP_JOIN, CRASH, DISCONNECT } = this.#consumer.events
    try {
      let beginnings = await this.#beginnings()
      this.#consumer.on(GROUP_JOIN, ({ payload }) => {
        this.#joined = true
        // Before anything is fetched; a seek is committed. Later on the other members know better.
        for (const partition of payload.memberAssignment[topic] ?? []) {
          const offset = beginnings.get(partition)
          if (offset !== undefined) this.#consumer.seek({ topic, partition, offset })
        }
        beginnings = new Map()
      })
      this.#consumer.on(CRASH, ({ payload }) => {
        this.#joined = false
        if (payload.restart) return
        this.#log.error({ err: payload.error }, 'results are not read any more: nothing new is told')
      })
      this.#consumer.on(DISCONNECT, () => {
        this.#joined = false
      })
      await this.#consumer.connect()
      await this.#consumer.subscribe({ topic, fromBeginning: false })
      await this.#consumer.run({
        autoCommitInterval: 1_000,
        eachBatchAutoResolve: false,
        eachBatch: (batch) => this.#take(batch),
      })
    } catch (error) {
      throw translate(error, brokers)
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await within(this.#consumer.disconnect(), STOP_MS_MAX, () => new Error('no answer in time')).catch(
      (error: unknown) => this.#log.debug({ error: messageOf(error) }, 'the group was not left'),
    )
  }

  /** Where to begin, by partition, of those where the group has never been: at the end, or, where it knows others, at the beginning. */
  async #beginnings(): Promise<ReadonlyMap<number, string>> {
    const { topic, group, brokers } = this.#options
    return await withAdmin(this.#kafka, brokers, async (admin) => {
      const ends = await this.#ends(admin)
      const [known] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      const committed = new Map(known?.partitions.map(({ partition, offset }) => [partition, offset]))
      const isNew = ({ partition }: { partition: number }) => Number(committed.get(partition) ?? -1) < 0
      const isFirst = ends.every(isNew)
      return new Map(
        ends.filter(isNew).map(({ partition, high, low }) => [partition, isFirst ? high : low] as const),
      )
    })
  }

  /** A topic that has just been made may have partitions without a leader for a moment. */
  async #ends(admin: Admin) {
    for (let tries = 1; ; tries++) {
      try {
        return await admin.fetchTopicOffsets(this.#options.topic)
      } catch (error) {
        if ((error as { retriable?: boolean }).retriable !== true || tries === TRIES_MAX) throw error
        await sleep(RETRY_MS, this.#stopping.signal)
      }
    }
  }

  async #take({
    batch,
    resolveOffset,
    heartbeat,
    commitOffsetsIfNecessary,
    isRunning,
    isStale,
  }: EachBatchPayload) {
    const { signal } = this.#stopping
    for (const { offset, value } of batch.messages) {
      if (!isRunning() || isStale() || signal.aborted) return
      const result = parsed(value)
      const source = { topic: batch.topic, partition: batch.partition, offset: Number(offset) }
      while (result !== undefined) {
        try {
          await this.#onResult(result, source)
          break
        } catch (error) {
          if (signal.aborted) return
          this.#log.debug({ error: messageOf(error) }, 'a result cannot be told for the moment')
          await sleep(RETRY_MS, signal).catch(() => {})
          await heartbeat()
          if (!isRunning() || isStale() || signal.aborted) return
        }
      }
      resolveOffset(offset)
      await heartbeat()
    }
    await commitOffsetsIfNecessary()
  }
}

/** Undefined for what is no result: the topic may be shared. */
function parsed(value: Buffer | null): ResultMessage | undefined {
  try {
    return resultSchema.safeParse(JSON.parse(value?.toString() ?? '')).data
  } catch {
    return undefined
  }
}
