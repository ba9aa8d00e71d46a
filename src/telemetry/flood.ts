/** Of one message, in one window, so many lines are written; the others are counted. */
const LINES_MAX = 20
const WINDOW_MS = 10_000
/** Messages that are told apart in one window: beyond them all are written. They are constants, mostly. */
const MESSAGES_MAX = 1_000

interface Seen {
  lines: number
  readonly tell: (folded: number, windowMs: number) => void
}

export interface FloodOptions {
  readonly linesMax?: number
  readonly windowMs?: number
}

/**
 * Folds a flood of one message into a count: when something is away, thousands of jobs say so a second, and the one line that says why
 * would be lost among them. The count is told when the window is over.
 */
export class Flood {
  readonly #linesMax: number
  readonly #windowMs: number
  readonly #seen = new Map<string, Seen>()
  #window: NodeJS.Timeout | undefined

  constructor({ linesMax = LINES_MAX, windowMs = WINDOW_MS }: FloodOptions = {}) {
    this.#linesMax = linesMax
    this.#windowMs = windowMs
  }

  /** True for a line that is to be written. `tell` is called at the end of the window with how many more there were, if any. */
  admits(message: string, tell: Seen['tell']): boolean {
    const seen = this.#seen.get(message)
    if (seen !== undefined) return ++seen.lines <= this.#linesMax
    if (this.#seen.size >= MESSAGES_MAX) return true
    this.#seen.set(message, { lines: 1, tell })
    this.#window ??= setTimeout(() => this.#close(), this.#windowMs).unref()
    return true
  }

  #close(): void {
    this.#window = undefined
    const all = [...this.#seen.values()]
    this.#seen.clear()
    for (const { lines, tell } of all)
      if (lines > this.#linesMax) tell(lines - this.#linesMax, this.#windowMs)
  }
}
