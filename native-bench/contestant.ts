/** One way of getting replies. To add one (the whole pipeline, say): another function that returns this, in `contestants`. */
export interface Contestant {
  readonly name: string
  /** Keeps `concurrency` requests under way for `durationMs`, then waits for the last; resolves with how many there were. */
  round(options: { durationMs: number; concurrency: number }): Promise<number>
  stop(): Promise<void>
}
