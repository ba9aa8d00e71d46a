import type { Reason } from '../job/reason.ts'
import type { DeadLetters } from './dead-letters.ts'
import { type Letter, type LetterId, letterOf } from './letter.ts'

/** Which letters are meant; what is left out does not narrow it. */
export interface Selection {
  readonly ids?: readonly LetterId[]
  readonly reasons?: readonly Reason[]
  readonly platform?: string
  /** Given up at this time or later, Unix ms. */
  readonly sinceMs?: number
}

export function isSelected(letter: Letter, { reasons, platform, sinceMs }: Selection): boolean {
  return (
    (reasons === undefined || reasons.some((reason) => reason === letter.reason)) &&
    (platform === undefined || platform === letter.platform) &&
    (sinceMs === undefined || letter.atMs >= sinceMs)
  )
}

/** Hands over every letter that may be selected: those with the ids, or all of them. */
export async function eachCandidate(
  letters: DeadLetters,
  { ids }: Selection,
  take: (letter: Letter) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  if (ids === undefined) await letters.each((record) => take(letterOf(record)), signal)
  else await letters.pick(ids, (record) => take(letterOf(record)), signal)
}
