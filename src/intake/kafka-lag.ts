import type { Admin } from 'kafkajs'
import { messageOf } from '../job/errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Assignments } from './assignments.ts'
import type { KafkaSourceOptions } from './kafka-source-options.ts'

const EVERY_MS = 5_000

/** Asks every few seconds where the partitions end and what is committed: for the lag of ours, and the backlog of each topic. */
export class KafkaLag {
  readonly #options: Pick<KafkaSourceOptions, 'groupId' | 'topics' | 'lagEveryMs'>
  readonly #admin: Admin
  readonly #assignments: Assignments
  readonly #log: Log
  readonly #backlogs = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #asking: Promise<void> | undefined
  #stopped = false

  constructor(
    options: Pick<KafkaSourceOptions, 'groupId' | 'topics' | 'lagEveryMs'>,
    parts: { readonly admin: Admin; readonly assignments: Assignments; readonly log: Log },
  ) {
    this.#options = options
    this.#admin = parts.admin
    this.#assignments = parts.assignments
    this.#log = parts.log
  }

  start(): void {
    const everyMs = this.#options.lagEveryMs ?? EVERY_MS
    if (everyMs === 0 || this.#stopped) return
    this.#timer ??= setInterval(() => {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined
      })
    }, everyMs)
  }

  /** Resolves when nothing is being asked any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#asking
  }

  /** Records of a topic that are not committed, in all its partitions, as they were last; undefined before the first answer. */
  backlog(topic: string): number | undefined {
    return this.#backlogs.get(topic)
  }

  async #ask(): Promise<void> {
    const { groupId, topics } = this.#options
    try {
      // Offsets first: what is published meanwhile makes a backlog look too large, never too small.
      const groups = await this.#admin.fetchOffsets({ groupId, topics: [...topics] })
      for (const { topic, partitions } of groups) {
        if (this.#stopped) return
        const committed = new Map(partitions.map(({ partition, offset }) => [partition, Number(offset)]))
        await this.#askOf(topic, committed).catch((error: unknown) => this.#failed(error, topic))
      }
    } catch (error) {
      this.#failed(error)
    }
  }

  async #askOf(topic: string, committed: ReadonlyMap<number, number>): Promise<void> {
    let backlog = 0
    for (const { partition, low, high } of await this.#admin.fetchTopicOffsets(topic)) {
      const offset = committed.get(partition) ?? -1
      this.#assignments.ends({ topic, partition }, Number(low), Number(high))
      if (offset >= 0) this.#assignments.committed({ topic, partition, offset })
      backlog += Math.max(0, Number(high) - Math.max(offset, Number(low)))
    }
    this.#backlogs.set(topic, backlog)
  }

  /** A figure only; the consumer notices by itself when Kafka is away. */
  #failed(error: unknown, topic?: string): void {
    this.#log.debug({ topic, reason: messageOf(error, 200) }, 'lag could not be asked for')
  }
}
