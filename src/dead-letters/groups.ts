import type { DeadLetters } from './dead-letters.ts'
import type { Letter, LetterId } from './letter.ts'
import { eachCandidate, isSelected, type Selection } from './selection.ts'

/** The letters of one platform with one reason. Times in Unix ms. */
export interface LetterGroup {
  readonly platform: string
  readonly reason: string
  readonly count: number
  /** How many of them were sent back. */
  readonly replayed: number
  readonly oldestMs: number
  readonly newestMs: number
  readonly newestId: LetterId
  /** Of the newest. */
  readonly message: string
}

/** Producers choose the platform's name, hostile ones a new one every time: further ones are counted under this name. */
export const OTHER_PLATFORMS = '(others)'
const GROUPS_MAX = 1_000

/** Groups what is selected, largest first. Holds the groups and which letters were replayed, never the letters. */
export async function groupLetters(
  letters: DeadLetters,
  selection: Selection,
  signal: AbortSignal,
): Promise<LetterGroup[]> {
  const replayed = await letters.replayed(signal)
  const groups = new Map<string, LetterGroup>()
  await eachCandidate(
    letters,
    selection,
    (letter) => {
      if (!isSelected(letter, selection)) return
      const key = keyOf(letter.platform, letter.reason)
      const platform = groups.has(key) || groups.size < GROUPS_MAX ? letter.platform : OTHER_PLATFORMS
      const group = groups.get(keyOf(platform, letter.reason))
      groups.set(keyOf(platform, letter.reason), grown(group, { ...letter, platform }, replayed.has(letter)))
    },
    signal,
  )
  return [...groups.values()].sort((a, b) => b.count - a.count || b.newestMs - a.newestMs)
}

function grown(group: LetterGroup | undefined, letter: Letter, wasReplayed: boolean): LetterGroup {
  const { platform, reason, atMs, id, message } = letter
  const isNewest = group === undefined || atMs >= group.newestMs
  return {
    platform,
    reason,
    count: (group?.count ?? 0) + 1,
    replayed: (group?.replayed ?? 0) + (wasReplayed ? 1 : 0),
    oldestMs: Math.min(group?.oldestMs ?? atMs, atMs),
    newestMs: isNewest ? atMs : group.newestMs,
    newestId: isNewest ? id : group.newestId,
    message: isNewest ? message : group.message,
  }
}

function keyOf(platform: string, reason: string): string {
  return JSON.stringify([platform, reason])
}
