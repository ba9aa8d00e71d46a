import { onAbort } from '../lib/abort.ts'

/**
 * The time between a failed call and its repetition, for every job that the call was made for. It ends for all of them in one turn of
 * the event loop (timers of equal length that were set together may fire a millisecond apart): so they meet again, in one call.
 */
export class Pause {
  readonly #waiting = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined

  /** Resolves when it is over, or rejects with the signal's reason. Whoever comes first says how long it is. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        forget()
        resolve()
      }
      this.#waiting.add(end)
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        for (const one of this.#waiting) one()
        this.#waiting.clear()
      }, ms)
      const forget = onAbort(signal, () => {
        this.#waiting.delete(end)
        if (this.#waiting.size === 0) {
          clearTimeout(this.#timer)
          this.#timer = undefined
        }
        reject(signal.reason)
      })
    })
  }
}
