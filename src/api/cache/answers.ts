import { SingleFlight } from '../../lib/single-flight.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { Answer } from './answer.ts'
import type { AnswerKey } from './answer-key.ts'
import type { MemoryShelf } from './memory-shelf.ts'
import type { RedisShelf } from './redis-shelf.ts'
import { Renewals } from './renewals.ts'

export interface AnswersOptions {
  readonly ttlMs: number
  /** While scrapes come in, an answer over many creators is made anew this often at most. */
  readonly refreshMs: number
  /** Unix ms. Default Date.now. */
  readonly now?: () => number
}

export interface AnswersPorts {
  readonly memory: MemoryShelf
  readonly shared?: RedisShelf | undefined
  readonly metrics: Metrics
  /** False while it is not heard which scrapes finish: then nothing is kept for longer than `refreshMs`. */
  readonly hears: () => boolean
}

export interface Asking {
  readonly signal: AbortSignal
  /** Called before work begins that nobody else does already; throws when this caller may not begin it. Its result ends the work. */
  readonly admit: () => () => void
  readonly make: (signal: AbortSignal) => Promise<unknown>
}

export type AnswerState = 'hit' | 'stale' | 'miss'

/** Creators whose scrape was heard of; what began before is not believed. More than come in while a query runs. */
const DROPPED_MAX = 50_000

/**
 * Answers that are kept for a while: in memory, then in Redis, then made. Whoever asks while one is being made waits for that
 * one. One that is past its time is given out once more while a new one is being made, until it is twice as old.
 *
 * What a finished scrape makes stale: answers about that creator are dropped, in every process, since each hears of every
 * scrape; answers over many creators are past their time from then on, but made anew no more often than `refreshMs`, and one after the
 * other: all of them grow old at the same time, and nobody waits for them.
 */
export class Answers {
  readonly #options: AnswersOptions
  readonly #ports: AnswersPorts
  readonly #now: () => number
  readonly #flights = new SingleFlight<Answer>()
  readonly #droppedAtMs = new Map<string, number>()
  readonly #renewals = new Renewals()
  #scrapedAtMs = 0

  constructor(options: AnswersOptions, ports: AnswersPorts) {
    this.#options = options
    this.#ports = ports
    this.#now = options.now ?? Date.now
  }

  /** Rejects as `make` and `admit` do, or with the reason of the signal. */
  async get(
    key: AnswerKey,
    asking: Asking,
  ): Promise<{ readonly answer: Answer; readonly state: AnswerState }> {
    const { memory, shared, metrics } = this.#ports
    let answer = memory.get(key)
    if (answer === undefined || this.#judge(key, answer) === 'old') {
      const other = this.#flights.has(key.id) ? undefined : await shared?.get(key)
      // Somebody may have made it meanwhile.
      const newer = memory.get(key)
      if (newer !== undefined && this.#judge(key, newer) !== 'old') {
        answer = newer
      } else if (other !== undefined && this.#judge(key, other) !== 'old') {
        answer = other
        memory.put(key, other)
      }
    }
    const worth = answer === undefined ? 'old' : this.#judge(key, answer)
    const state = worth === 'old' ? 'miss' : worth
    metrics.api_answers_total.inc({ state })
    if (answer === undefined || worth === 'old') return { answer: await this.#make(key, asking), state }
    if (worth === 'stale') this.#renew(key, asking)
    return { answer, state }
  }

  /** A scrape of this creator has ended: everything about it that began before is not true any more. */
  async scraped(creator: string): Promise<void> {
    const nowMs = this.#now()
    this.#scrapedAtMs = nowMs
    this.#droppedAtMs.delete(creator)
    this.#droppedAtMs.set(creator, nowMs)
    if (this.#droppedAtMs.size > DROPPED_MAX) {
      const [oldest] = this.#droppedAtMs.keys()
      this.#droppedAtMs.delete(oldest!)
    }
    this.#ports.memory.drop(creator)
    await this.#ports.shared?.drop(creator)
  }

  #judge({ creator }: AnswerKey, { beganAtMs }: Answer): 'hit' | 'stale' | 'old' {
    const { ttlMs, refreshMs } = this.#options
    const ageMs = this.#now() - beganAtMs
    if (creator !== undefined && beganAtMs <= (this.#droppedAtMs.get(creator) ?? 0)) return 'old'
    if (ageMs >= 2 * ttlMs) return 'old'
    if (ageMs < refreshMs) return 'hit'
    if (!this.#ports.hears()) return 'old'
    if (ageMs >= ttlMs) return 'stale'
    return creator === undefined && beganAtMs <= this.#scrapedAtMs ? 'stale' : 'hit'
  }

  async #make(key: AnswerKey, { signal, admit, make }: Asking): Promise<Answer> {
    // No wait between the question and the beginning, so that only who begins needs to be admitted.
    const leave = this.#flights.has(key.id) ? undefined : admit()
    try {
      return await this.#flights.run(
        key.id,
        async (shared) => {
          const beganAtMs = this.#now()
          const answer = new Answer(Buffer.from(JSON.stringify(await make(shared))), beganAtMs)
          if (this.#judge(key, answer) !== 'old') {
            this.#ports.memory.put(key, answer)
            void this.#ports.shared?.put(key, answer)
          }
          return answer
        },
        signal,
      )
    } finally {
      leave?.()
    }
  }

  /** In the background, on nobody's account: the caller has its answer and may leave. */
  #renew(key: AnswerKey, { make }: Asking): void {
    if (this.#renewals.waits(key.id) || this.#flights.has(key.id)) return
    const asking = { make, admit: () => () => {}, signal: new AbortController().signal }
    this.#renewals.add(key.id, () => this.#make(key, asking))
  }
}
