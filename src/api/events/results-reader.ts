import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs'
import { messageOf } from '../../job/errors.ts'
import { type ResultMessage, resultSchema } from '../../job/outcome.ts'
import { translate } from '../../kafka/client.ts'
import { sleep } from '../../lib/abort.ts'
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

/**
 * Reads the results topic and hands each result on, in the order of its partition. An offset is committed when its results
 * have been taken; while they cannot be, it waits.
 */
export class ResultsReader {
  readonly #options: ResultsReaderOptions
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
    this.#consumer = kafka.consumer({
      groupId: options.group,
      maxWaitTimeInMs: 200,
      sessionTimeout: 15_000,
      heartbeatInterval: 2_000,
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
    const { GROUP_JOIN, CRASH, DISCONNECT } = this.#consumer.events
    this.#consumer.on(GROUP_JOIN, () => {
      this.#joined = true
    })
    for (const event of [CRASH, DISCONNECT] as const) {
      this.#consumer.on(event, () => {
        this.#joined = false
      })
    }
    try {
      await this.#consumer.connect()
      await this.#consumer.subscribe({ topic: this.#options.topic, fromBeginning: false })
      await this.#consumer.run({
        autoCommitInterval: 1_000,
        eachBatchAutoResolve: false,
        eachBatch: (batch) => this.#take(batch),
      })
    } catch (error) {
      throw translate(error, this.#options.brokers)
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#consumer.disconnect()
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
