import { onAbort } from '../lib/abort.ts'

export interface GateLimits {
  readonly countMax: number
  readonly weightMax: number
}

/** A place inside a gate. */
export interface Pass {
  /** What the holder turned out to weigh. May exceed the gate's bound: then nobody else enters until it fits again. */
  reweigh(weight: number): void
  /** Idempotent. */
  leave(): void
}

interface Waiting {
  readonly weight: number
  readonly admit: (pass: Pass) => void
}

/**
 * Bounds what is inside by count and by weight (bytes, say). First come, first served: a heavy one at the head of the queue is
 * not overtaken by light ones. When nothing is inside, one may enter whatever it weighs. The queue holds one entry per waiting
 * caller and is as bounded as they are.
 */
export class Gate {
  readonly #limits: GateLimits
  readonly #queue = new Set<Waiting>()
  #count = 0
  #weight = 0

  constructor(limits: GateLimits) {
    this.#limits = limits
  }

  get inside(): number {
    return this.#count
  }

  get weight(): number {
    return this.#weight
  }

  get waiting(): number {
    return this.#queue.size
  }

  /** Resolves with a pass when there is room. Rejects with the signal's reason when aborted while waiting. */
  async enter(weight: number, signal: AbortSignal): Promise<Pass> {
    signal.throwIfAborted()
    if (this.#queue.size === 0 && this.#fits(weight)) return this.#pass(weight)
    const { promise, resolve, reject } = Promise.withResolvers<Pass>()
    const entry: Waiting = { weight, admit: resolve }
    const aborted = () => {
      this.#queue.delete(entry)
      reject(signal.reason)
      this.#admit()
    }
    this.#queue.add(entry)
    const forget = onAbort(signal, aborted)
    try {
      return await promise
    } finally {
      forget()
    }
  }

  #fits(weight: number): boolean {
    if (this.#count === 0) return true
    return this.#count < this.#limits.countMax && this.#weight + weight <= this.#limits.weightMax
  }

  #admit(): void {
    for (const entry of this.#queue) {
      if (!this.#fits(entry.weight)) return
      this.#queue.delete(entry)
      entry.admit(this.#pass(entry.weight))
    }
  }

  #pass(weight: number): Pass {
    let mine = weight
    let left = false
    this.#count++
    this.#weight += weight
    return {
      reweigh: (now) => {
        if (left) return
        this.#weight += now - mine
        mine = now
        this.#admit()
      },
      leave: () => {
        if (left) return
        left = true
        this.#count--
        this.#weight -= mine
        this.#admit()
      },
    }
  }
}
