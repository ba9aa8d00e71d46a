import { onAbort } from '../lib/abort.ts'

export interface Held {
  readonly signal: AbortSignal
  /** Must be called when the work is over; idempotent. */
  release(): void
}

/**
 * A component's own "stop", joined to the signals of its callers. `AbortSignal.any` would do the same, but keeps something for
 * every call on a signal that lives as long as the process (Node 24: about 100 bytes); this one lets go at `release`.
 */
export class Leash {
  readonly #held = new Set<AbortController>()
  #reason: unknown

  get pulled(): boolean {
    return this.#reason !== undefined
  }

  /** A signal that is aborted by the caller's or by `pull`, whichever is first. */
  hold(signal: AbortSignal): Held {
    const control = new AbortController()
    const follow = () => control.abort(signal.reason)
    const forget = onAbort(signal, follow)
    if (this.#reason !== undefined) control.abort(this.#reason)
    if (!control.signal.aborted) this.#held.add(control)
    const release = () => {
      this.#held.delete(control)
      forget()
    }
    return { signal: control.signal, release }
  }

  /** Aborts all that is held and, from now on, whatever is asked for. */
  pull(reason: Error): void {
    this.#reason ??= reason
    for (const control of this.#held) control.abort(this.#reason)
    this.#held.clear()
  }
}
