/** Whether a job waits for its platform, or is on its way. Saying the same twice is harmless. */
export class Standing {
  readonly #changed: (waits: boolean) => void
  #waits = false
  #isOver = false

  constructor(changed: (waits: boolean) => void) {
    this.#changed = changed
  }

  /** It waits: for a permit, or for the pause after a failure to be over. */
  waits(): void {
    if (this.#waits || this.#isOver) return
    this.#waits = true
    this.#changed(true)
  }

  /** Its request is under way, or it needs the platform no more. */
  moves(): void {
    if (!this.#waits) return
    this.#waits = false
    this.#changed(false)
  }

  /** The job has ended. Calls that an adapter made at once and did not wait for may still go on: they count no more. */
  ends(): void {
    this.moves()
    this.#isOver = true
  }
}
