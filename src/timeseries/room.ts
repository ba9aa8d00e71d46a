import { onAbort } from '../lib/abort.ts'
import { abortError } from './abort.ts'

/** How much may be buffered before writers have to wait. */
export interface RoomLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

export interface Load {
  readonly rows: number
  readonly bytes: number
}

interface Waiter {
  readonly load: Load
  readonly admit: () => void
  readonly refuse: (reason: unknown) => void
}

/**
 * Counts what is buffered and makes writers wait, first come first served, while it is full. A load larger than the whole
 * room is admitted alone, so that it cannot wait for ever. The queue is as long as there are concurrent writers.
 */
export class Room {
  readonly #limits: RoomLimits
  readonly #waiters: Waiter[] = []
  #rows = 0
  #bytes = 0
  #closed = false

  constructor(limits: RoomLimits) {
    this.#limits = limits
  }

  get rows(): number {
    return this.#rows
  }

  get bytes(): number {
    return this.#bytes
  }

  get waiting(): number {
    return this.#waiters.length
  }

  /** Takes room for `load` if there is some and nobody waits for it; says whether it did. */
  tryEnter(load: Load): boolean {
    if (this.#closed || this.#waiters.length > 0 || !this.#fits(load)) return false
    this.#take(load)
    return true
  }

  /** Waits for room and takes it. Rejects with an AbortError when `signal` is aborted or the room is closed. */
  async enter(load: Load, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#closed) throw abortError(signal)
    if (this.tryEnter(load)) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter: Waiter = { load, admit: resolve, refuse: reject }
    this.#waiters.push(waiter)
    const forget = onAbort(signal, () => {
      const index = this.#waiters.indexOf(waiter)
      if (index < 0) return
      this.#waiters.splice(index, 1)
      reject(abortError(signal))
      // The one who left may have been the head that nobody could pass.
      this.#admit()
    })
    try {
      await promise
    } finally {
      forget()
    }
  }

  leave(load: Load): void {
    this.#rows -= load.rows
    this.#bytes -= load.bytes
    this.#admit()
  }

  /** Refuses whoever waits, and everybody who comes from now on. What is inside stays until it leaves. */
  close(): void {
    this.#closed = true
    for (const waiter of this.#waiters.splice(0)) waiter.refuse(abortError())
  }

  #admit(): void {
    for (let head = this.#waiters[0]; head !== undefined && this.#fits(head.load); head = this.#waiters[0]) {
      this.#waiters.shift()
      this.#take(head.load)
      head.admit()
    }
  }

  #fits(load: Load): boolean {
    if (this.#rows === 0) return true
    return this.#rows + load.rows <= this.#limits.rowsMax && this.#bytes + load.bytes <= this.#limits.bytesMax
  }

  #take(load: Load): void {
    this.#rows += load.rows
    this.#bytes += load.bytes
  }
}
