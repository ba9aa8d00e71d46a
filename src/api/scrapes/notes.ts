import { messageOf } from '../../job/errors.ts'
import type { RedisLink } from '../../redis/link.ts'
import { ApiProblem } from '../problem.ts'

/** Small values under keys, each for a while. Rejects with ApiProblem `unavailable` while they cannot be read or written. */
export interface Notes {
  get(key: string): Promise<string | null>
  /** Writes unless the key is there; resolves with what is there, or null when this was written. */
  add(key: string, value: string, keptMs: number): Promise<string | null>
  set(key: string, value: string, keptMs: number): Promise<void>
  /** Writes only when the key is there. */
  replace(key: string, value: string, keptMs: number): Promise<void>
}

const NOTES_MAX = 200_000

/** Notes of one process, the oldest given up when there are too many. */
export class MemoryNotes implements Notes {
  readonly #notes = new Map<string, { readonly value: string; readonly untilMs: number }>()

  async get(key: string): Promise<string | null> {
    const note = this.#notes.get(key)
    return note === undefined || note.untilMs <= Date.now() ? null : note.value
  }

  async add(key: string, value: string, keptMs: number): Promise<string | null> {
    const there = await this.get(key)
    if (there === null) await this.set(key, value, keptMs)
    return there
  }

  async set(key: string, value: string, keptMs: number): Promise<void> {
    this.#notes.delete(key)
    this.#notes.set(key, { value, untilMs: Date.now() + keptMs })
    if (this.#notes.size <= NOTES_MAX) return
    const [oldest] = this.#notes.keys()
    this.#notes.delete(oldest!)
  }

  async replace(key: string, value: string, keptMs: number): Promise<void> {
    if ((await this.get(key)) !== null) await this.set(key, value, keptMs)
  }
}

/** Notes that all processes share. */
export class RedisNotes implements Notes {
  readonly #link: RedisLink
  readonly #prefix: string

  constructor(link: RedisLink, keyPrefix: string) {
    this.#link = link
    this.#prefix = `${keyPrefix}:api:note:`
  }

  get(key: string): Promise<string | null> {
    return this.#run(() => this.#link.client.get(this.#prefix + key))
  }

  async add(key: string, value: string, keptMs: number): Promise<string | null> {
    // Redis 6.2 has no SET with both NX and GET; between the two only the end of its time can take it away.
    const set = await this.#run(() => this.#link.client.set(this.#prefix + key, value, 'PX', keptMs, 'NX'))
    return set === 'OK' ? null : await this.get(key)
  }

  async set(key: string, value: string, keptMs: number): Promise<void> {
    await this.#run(() => this.#link.client.set(this.#prefix + key, value, 'PX', keptMs))
  }

  async replace(key: string, value: string, keptMs: number): Promise<void> {
    await this.#run(() => this.#link.client.set(this.#prefix + key, value, 'PX', keptMs, 'XX'))
  }

  async #run<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(call)
    } catch (cause) {
      throw new ApiProblem('unavailable', 'What is known of jobs cannot be read or written for the moment.', {
        cause: messageOf(cause),
        headers: { 'retry-after': '5' },
      })
    }
  }
}
