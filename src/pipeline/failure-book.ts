/** A job that ended badly, or will be tried again, as the console lists it. */
export interface FailedJob {
  /** RFC 3339. */
  readonly at: string
  readonly platform: string
  readonly reason: string
  readonly message: string
  /** `dead`: given up. `retry`: it comes again. */
  readonly outcome: 'dead' | 'retry'
  /** Both empty for a record that is no job. What a producer wrote: never to be taken for markup. */
  readonly jobId: string
  readonly creatorId: string
}

const SAMPLES_MAX = 3
const MESSAGE_LENGTH_MAX = 300

/**
 * The newest failures of each reason: a flood of one does not wash away the others. Reasons are a fixed list of some twenty, so
 * this is bounded.
 */
export class FailureBook {
  readonly #byReason = new Map<string, FailedJob[]>()

  note(job: FailedJob): void {
    const message = job.message.slice(0, MESSAGE_LENGTH_MAX)
    const samples = this.#byReason.get(job.reason) ?? []
    this.#byReason.set(job.reason, [{ ...job, message }, ...samples.slice(0, SAMPLES_MAX - 1)])
  }

  /** Newest first. */
  get newest(): readonly FailedJob[] {
    return [...this.#byReason.values()].flat().sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0))
  }
}
