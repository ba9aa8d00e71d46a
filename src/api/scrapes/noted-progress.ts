import type { Progress } from '../../job/progress.ts'
import { begunNoteOf, JOB_KEPT_MS } from './job-note.ts'
import type { Notes } from './notes.ts'

/** Notes which jobs have begun, where the API looks for it. What cannot be noted is not: the job stays `queued` until it has ended. */
export class NotedProgress implements Progress {
  readonly #notes: () => Promise<Notes>

  /** `notes` may be asked often; what it rejects with is nobody's matter. */
  constructor(notes: () => Promise<Notes>) {
    this.#notes = notes
  }

  begun(jobId: string): void {
    this.#note(jobId, '1')
  }

  waits(jobId: string): void {
    this.#note(jobId, '')
  }

  #note(jobId: string, text: string): void {
    this.#notes()
      .then((notes) => notes.set(begunNoteOf(jobId), text, JOB_KEPT_MS))
      .catch(() => {})
  }
}
