import type { DecideQuestion, LevelTerms } from './question.ts'
import type { Waiting } from './state.ts'

// Daemons that share a level do not know of each other. What the level has is divided among those it holds back so that all of
// them have had the same (max-min, by counting what each has had while it waited: fair queueing after Demers, Keshav and Shenker,
// 1989); and a place is kept for those that have had less, so that single units go round. A place lapses soon after its daemon
// was told to come back: one that died costs no more than that.

const DAEMONS_MAX = 256
/** Beyond the time it was told: a bucket saves what is not taken at once, a window loses it. Daemons gather their calls meanwhile. */
const HOLD_MAX_US = 2.5e6
const HOLD_US = 0.3e6

/** A level's queue as it is for one daemon. */
export interface Others {
  /** The other daemons, in the order in which they came. */
  readonly waiting: readonly Waiting[]
  /** How many of them came before it. */
  readonly before: number
  /** Units that it has had itself; who is new has had as little as the one who has had least. */
  readonly had: number
}

/** What a level's queue is now for `daemon`: who has not come back in time is left out. */
export function others(queue: readonly Waiting[], daemon: string, nowUs: number): Others {
  const waiting: Waiting[] = []
  let before = -1
  let had = 0
  let least = Number.POSITIVE_INFINITY
  for (const one of queue) {
    if (one.daemon === daemon) {
      before = waiting.length
      had = one.had
    } else if (one.untilUs > nowUs) {
      waiting.push(one)
      least = Math.min(least, one.had)
    }
  }
  if (before >= 0) return { waiting, before, had }
  return { waiting, before: waiting.length, had: waiting.length === 0 ? 0 : least }
}

/**
 * Units that are kept for the others out of `free`: for each what it takes to have had as much as the rest, and, where places are
 * kept, for who has had less, or as much and came before, one permit in any case; never more than it asked for.
 */
export function reserved(free: number, { waiting, before, had }: Others, keepsPlaces: boolean): number {
  if (waiting.length === 0) return 0
  const even = evenly(free, [had, ...waiting.map((one) => one.had)])
  let units = 0
  for (const [place, one] of waiting.entries()) {
    const first = keepsPlaces && (one.had < had || (one.had === had && place < before))
    units += Math.min(one.units, Math.max(first ? one.charge : 0, even - one.had))
  }
  return units
}

/** What each can have had in the end, when `free` units go to those who have had least. Units are whole. */
function evenly(free: number, had: readonly number[]): number {
  const ascending = had.toSorted((a, b) => a - b)
  let total = free
  let even = 0
  for (const [index, one] of ascending.entries()) {
    total += one
    even = Math.floor(total / (index + 1))
    const next = ascending[index + 1]
    if (next === undefined || even < next) break
  }
  return even
}

/**
 * The queue after a decision: `mine` takes the daemon's place, at the end when it has been granted something or is new; undefined
 * when it is not held back any more. What all have had is forgotten.
 */
export function requeued(
  { waiting, before }: Others,
  mine: Waiting | undefined,
  keepsPlace: boolean,
): readonly Waiting[] {
  const queue = [...waiting]
  if (mine !== undefined && keepsPlace) queue.splice(before, 0, mine)
  else if (mine !== undefined && queue.length < DAEMONS_MAX) queue.push(mine)
  const least = Math.min(...queue.map(({ had }) => had))
  return least === 0 ? queue : queue.map((one) => ({ ...one, had: one.had - least }))
}

/** Until when a daemon that was told to wait has its place. */
export function heldUntil(terms: LevelTerms, nowUs: number, waitUs: number): number {
  const holdUs = terms.kind === 'window' ? HOLD_US + Math.floor(terms.windowUs / 50) : HOLD_MAX_US
  return nowUs + waitUs + Math.min(HOLD_MAX_US, holdUs)
}

/**
 * By level, whether places are kept: in every chain only at the first level where others wait. Whoever's turn it is there would
 * seldom be first in the next line as well, and what is scarce at the first would be lost.
 */
export function placesKept(question: DecideQuestion, queues: readonly Others[]): readonly boolean[] {
  const kept = question.levels.map(() => true)
  for (const { levels } of question.wants) {
    let led = false
    for (const level of levels) {
      if (led) kept[level] = false
      else led = queues[level]!.waiting.length > 0
    }
  }
  return kept
}
