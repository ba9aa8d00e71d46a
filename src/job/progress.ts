/** Hears how far a job is that somebody watches (`millrace-watched`). Never throws, and nobody waits for it. */
export interface Progress {
  /** Its first call is on its way. */
  begun(jobId: string): void
  /** It waits again: for its next try, or for another daemon. */
  waits(jobId: string): void
}
