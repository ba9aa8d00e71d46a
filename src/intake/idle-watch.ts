import type { PartitionIntake } from './partition-intake.ts'
import type { Room } from './room.ts'
import type { Source } from './source.ts'

/**
 * Finds out when a finite run is over: its input has ended, everything is settled, what was published meanwhile has been read
 * again, and no retry waits (unless those are left to the next run).
 */
export class IdleWatch {
  readonly #source: Source
  readonly #partitions: ReadonlyMap<string, PartitionIntake>
  readonly #room: Room
  readonly #waitForRetries: boolean
  readonly #now: () => number
  readonly #reached = Promise.withResolvers<void>()
  #ended = false
  #checking = false

  constructor(parts: {
    readonly source: Source
    readonly partitions: ReadonlyMap<string, PartitionIntake>
    readonly room: Room
    readonly waitForRetries: boolean
    readonly now: () => number
  }) {
    this.#source = parts.source
    this.#partitions = parts.partitions
    this.#room = parts.room
    this.#waitForRetries = parts.waitForRetries
    this.#now = parts.now
  }

  get reached(): Promise<void> {
    return this.#reached.promise
  }

  /** The source has read everything that there is for now. */
  inputEnded(): void {
    this.#ended = true
    this.check()
  }

  /** To be called whenever it may have become true. */
  check(): void {
    if (this.#ended && !this.#checking && this.#isQuiet()) void this.#ask()
  }

  /** A job's retry or follow-up is published before the job is settled, so what the source says now includes all of them. */
  async #ask(): Promise<void> {
    this.#checking = true
    const nowMs = this.#now()
    const early = [...this.#partitions.values()].filter((state) => state.isEarly(nowMs))
    const except = this.#waitForRetries ? [] : early.map((state) => state.partition)
    const exhausted = await this.#source.exhausted(except).catch(() => false)
    this.#checking = false
    if (exhausted && this.#isQuiet()) this.#reached.resolve()
  }

  #isQuiet(): boolean {
    if (this.#room.handed > 0) return false
    const nowMs = this.#now()
    for (const state of this.#partitions.values()) {
      if (state.length > 0 && (this.#waitForRetries || !state.isEarly(nowMs))) return false
    }
    return true
  }
}
