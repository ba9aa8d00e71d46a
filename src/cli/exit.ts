import { MillraceError, messageOf } from '../job/errors.ts'

/** Exit codes: the contract. */
export const EXIT = { done: 0, failed: 1, usage: 2, service_away: 3 } as const

/**
 * What a user sees of a failure, and the exit code that goes with it: one clear line (or a list) for what we know how to
 * say, the stack only for what is our own fault.
 */
export function failure(error: unknown): { readonly text: string; readonly code: number } {
  if (error instanceof MillraceError) return { text: `millrace: ${error.message}`, code: EXIT[error.kind] }
  if (error instanceof Error) {
    return {
      text: `millrace: an error of ours, please report it: ${error.stack ?? messageOf(error)}`,
      code: EXIT.failed,
    }
  }
  return { text: `millrace: ${messageOf(error)}`, code: EXIT.failed }
}
