import { createHash } from 'node:crypto'

/** A job that nobody heard of for so long is looked up in the table alone. */
export const JOB_KEPT_MS = 48 * 3_600_000

/** The note of a job that was asked for: how it stands, as a ScrapeState. */
export function noteOf(jobId: string): string {
  return `job:${digestOf(jobId)}`
}

/** The note of whoever works on it: not empty from its first call on. Beside the other one, so that neither overwrites what the other knows. */
export function begunNoteOf(jobId: string): string {
  return `begun:${digestOf(jobId)}`
}

/** SHA-256 in hex. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
