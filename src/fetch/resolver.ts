import { setTimeout as sleep } from 'node:timers/promises'

export interface Address {
  readonly address: string
  readonly family: 4 | 6
}

/** Where names are really looked up. Rejects when the name has no address or nobody answers. */
export interface NameService {
  query(name: string): Promise<readonly Address[]>
  /** Ends what is under way. */
  close(): void
}

export interface ResolverOptions {
  readonly service: NameService
  /** How long an answer is used without asking again. Default 300 s. */
  readonly ttlMs?: number
  /** How long beyond that the old answer is served while asking again fails. Default 1 h. */
  readonly staleMs?: number
  /** After a failure: how long until the next question; the failure, or the old answer, is served meanwhile. Default 5 s. */
  readonly retryAfterMs?: number
  /** How long a question with an old answer at hand waits for the new one. Default 1 s. */
  readonly staleWaitMs?: number
  /** Default 10,000; the name that was not asked for longest is forgotten. */
  readonly namesMax?: number
  readonly now: () => number
}

interface Entry {
  addresses: readonly Address[] | undefined
  fetchedAtMs: number
  /** After a failure: not asked again before this. */
  retryAtMs: number
  error: unknown
  /** The question that is under way; everyone who asks for the name shares it. It does not reject. */
  pending: Promise<void> | undefined
  /** Rotates the addresses, so that many sockets spread over them. */
  turn: number
}

/** From this share of its time on an answer that is used is asked for again, in the background. */
const REFRESH_AHEAD = 0.8

/**
 * A cache in front of a name service: one question at a time per name, answers kept `ttlMs`, refreshed ahead of their end
 * while they are in use, and served old when a refresh fails (RFC 8767).
 */
export class Resolver {
  readonly #service: NameService
  readonly #ttlMs: number
  readonly #staleMs: number
  readonly #retryAfterMs: number
  readonly #staleWaitMs: number
  readonly #namesMax: number
  readonly #now: () => number
  // In the order of use, the longest unused first.
  readonly #entries = new Map<string, Entry>()

  constructor(options: ResolverOptions) {
    this.#service = options.service
    this.#ttlMs = options.ttlMs ?? 300_000
    this.#staleMs = options.staleMs ?? 3_600_000
    this.#retryAfterMs = options.retryAfterMs ?? 5_000
    this.#staleWaitMs = options.staleWaitMs ?? 1_000
    this.#namesMax = options.namesMax ?? 10_000
    this.#now = options.now
  }

  /** Names held now. */
  get size(): number {
    return this.#entries.size
  }

  /** The addresses of a name, each call starting with another one. Rejects with the name service's error. */
  async resolve(hostname: string): Promise<readonly Address[]> {
    const name = hostname.toLowerCase()
    const entry = this.#entry(name)
    const nowMs = this.#now()
    const ageMs = nowMs - entry.fetchedAtMs
    if (entry.addresses !== undefined && ageMs < this.#ttlMs) {
      if (ageMs >= this.#ttlMs * REFRESH_AHEAD && nowMs >= entry.retryAtMs) void this.#ask(name, entry)
      return rotated(entry)
    }
    if (nowMs >= entry.retryAtMs || entry.pending !== undefined) {
      const asking = this.#ask(name, entry)
      const stale = entry.addresses !== undefined && ageMs < this.#ttlMs + this.#staleMs
      if (!stale) await asking
      else await withinMs(asking, this.#staleWaitMs)
    }
    if (entry.addresses !== undefined && this.#now() - entry.fetchedAtMs < this.#ttlMs + this.#staleMs) {
      return rotated(entry)
    }
    throw entry.error
  }

  /** Forgets everything and ends questions that are under way. */
  stop(): void {
    this.#entries.clear()
    this.#service.close()
  }

  #entry(name: string): Entry {
    const known = this.#entries.get(name)
    if (known !== undefined) {
      this.#entries.delete(name)
      this.#entries.set(name, known)
      return known
    }
    if (this.#entries.size >= this.#namesMax) {
      const oldest = this.#entries.keys().next()
      if (oldest.done !== true) this.#entries.delete(oldest.value)
    }
    const entry: Entry = {
      addresses: undefined,
      fetchedAtMs: 0,
      retryAtMs: Number.NEGATIVE_INFINITY,
      error: undefined,
      pending: undefined,
      turn: 0,
    }
    this.#entries.set(name, entry)
    return entry
  }

  #ask(name: string, entry: Entry): Promise<void> {
    entry.pending ??= this.#query(name, entry)
    return entry.pending
  }

  async #query(name: string, entry: Entry): Promise<void> {
    try {
      const addresses = await this.#service.query(name)
      if (addresses.length === 0) throw new Error(`${name} has no address`)
      entry.addresses = addresses
      entry.fetchedAtMs = this.#now()
      entry.error = undefined
    } catch (error) {
      entry.error = error
      entry.retryAtMs = this.#now() + this.#retryAfterMs
    } finally {
      entry.pending = undefined
    }
  }
}

function rotated(entry: Entry): readonly Address[] {
  const { addresses = [] } = entry
  if (addresses.length < 2) return addresses
  entry.turn = (entry.turn + 1) % addresses.length
  return [...addresses.slice(entry.turn), ...addresses.slice(0, entry.turn)]
}

async function withinMs(promise: Promise<void>, ms: number): Promise<void> {
  const timer = new AbortController()
  const elapsed = sleep(ms, undefined, { signal: timer.signal, ref: false }).catch(() => {})
  await Promise.race([promise, elapsed])
  timer.abort()
}
