import { messageOf } from '../job/errors.ts'
import { onAbort } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Committable } from './ledger.ts'
import type { PartitionIntake } from './partition-intake.ts'
import { type Position, partitionKey, type Source } from './source.ts'

/** A last commit is tried so often, so far apart: enough to live through a rebalance that is under way. */
const LAST_ATTEMPTS = 5
const LAST_PAUSE_MS = 200
/** All of them together: a broker that hangs keeps each request for 15 s, and whoever stops us does not wait for that. */
const LAST_MS_MAX = 3_000

/**
 * Commits what the ledgers say is finished, one commit at a time. A commit that fails loses nothing: the positions are
 * offered again with the next one.
 */
export class Committer {
  readonly #source: Source
  readonly #partitions: ReadonlyMap<string, PartitionIntake>
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #now: () => number
  #chain: Promise<boolean> = Promise.resolve(true)
  #failing = false

  constructor(parts: {
    readonly source: Source
    readonly partitions: ReadonlyMap<string, PartitionIntake>
    readonly metrics: Metrics
    readonly log: Log
    readonly now: () => number
  }) {
    this.#source = parts.source
    this.#partitions = parts.partitions
    this.#metrics = parts.metrics
    this.#log = parts.log
    this.#now = parts.now
  }

  /** Resolves with false when the source could not store it. Never rejects. */
  commit(): Promise<boolean> {
    this.#chain = this.#chain.then(() => this.#commitOnce())
    return this.#chain
  }

  /** The last commit, before leaving: tried again a few times, then given up, which costs a repetition. */
  async commitLast(): Promise<void> {
    const late = AbortSignal.timeout(LAST_MS_MAX)
    for (let attempt = 1; attempt <= LAST_ATTEMPTS && !late.aborted; attempt += 1) {
      if (await before(late, this.commit())) return
      await before(late, new Promise((resolve) => setTimeout(resolve, LAST_PAUSE_MS)))
    }
    this.#log.warn('what was finished last could not be committed; it will be delivered again')
  }

  async #commitOnce(): Promise<boolean> {
    const places = new Map<Position, { state: PartitionIntake; place: Committable }>()
    for (const state of this.#partitions.values()) {
      const place = state.ledger.committable()
      if (place === undefined) continue
      const { partition, epoch, ledger } = state
      const beyond = ledger.beyond(this.#now())
      places.set({ ...partition, epoch, offset: place.offset, beyond }, { state, place })
    }
    if (places.size === 0) return true
    try {
      for (const position of await this.#source.commit([...places.keys()])) {
        const found = places.get(position) ?? this.#find(places, position)
        if (found === undefined) continue
        this.#metrics.kafka_committed_total.inc(found.state.ledger.markCommitted(found.place))
      }
    } catch (error) {
      // Once per outage: a rebalance or a broker restart makes several of these in a row.
      const level = this.#failing ? 'debug' : 'info'
      this.#failing = true
      this.#log[level]({ reason: messageOf(error, 300) }, 'commit failed, trying again')
      return false
    }
    this.#failing = false
    return true
  }

  /** A source may return copies of the positions. */
  #find(places: ReadonlyMap<Position, { state: PartitionIntake; place: Committable }>, position: Position) {
    for (const [key, found] of places) {
      if (partitionKey(key) === partitionKey(position) && key.epoch === position.epoch) return found
    }
    return undefined
  }
}

/** What it resolves with, or undefined when it is late. */
async function before<T>(late: AbortSignal, promise: Promise<T>): Promise<T | undefined> {
  const { promise: given, resolve } = Promise.withResolvers<undefined>()
  const forget = onAbort(late, () => resolve(undefined))
  return await Promise.race([promise, given]).finally(forget)
}
