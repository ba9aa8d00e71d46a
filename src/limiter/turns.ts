import { compare, type DecideQuestion, type WantTerms } from './question.ts'
import type { Answered, Turn } from './state.ts'

export const FIRST_TURN: Turn = { cursor: '', served: 0 }

export interface Turns extends Turn {
  /** Permits for each want. */
  readonly granted: readonly number[]
  readonly units: number
  /** By level: the want that it could not serve although it was its turn, and that is first in line there. */
  readonly claims: readonly (number | undefined)[]
  /** `permitsMax` was reached. */
  readonly isFull: boolean
}

/**
 * Hands out what the wants share in turns, by deficit round-robin (Shreedhar and Varghese, 1995) with the highest charge as quantum:
 * max-min fair in units between lanes. The turn and what was had in it are kept from call to call, for a call may get less than
 * one round. When a level has less than the one whose turn it is needs, and is what it would have to wait for longest, nobody
 * behind it is served from that level: otherwise cheap calls would drain it for ever below what a dear one needs. Takes from
 * `free`; `waitOf` tells in how long a level would have so many units beyond what was taken.
 */
export function handOut(
  question: DecideQuestion,
  turnBefore: Turn,
  free: number[],
  waitOf: (level: number, units: number) => number,
): Turns {
  const { wants, permitsMax } = question
  const granted = wants.map(() => 0)
  const costs = wants.map(({ charges }) => Math.max(...charges))
  const sharers = free.map(() => 0)
  for (const { levels } of wants) for (const level of levels) sharers[level]!++
  const claims: (number | undefined)[] = free.map(() => undefined)
  const quantum = Math.max(1, ...costs)
  let turn = wants.findIndex(({ lane }) => compare(lane, turnBefore.cursor) >= 0)
  if (turn < 0) turn = 0
  let served = wants[turn]?.lane === turnBefore.cursor ? turnBefore.served : 0
  if (served >= quantum) {
    // It has had its turn, by the smaller quantum of this demand.
    turn = (turn + 1) % wants.length
    served = 0
  }
  let units = 0
  let room = permitsMax
  let kept: Turn | undefined
  for (let idle = 0; idle < wants.length; ) {
    const { levels, charges, count } = wants[turn]!
    const cost = costs[turn]!
    const due = Math.min(count - granted[turn]!, Math.ceil((quantum - served) / cost))
    let permits = Math.min(due, room)
    for (const [place, level] of levels.entries())
      permits = Math.min(permits, Math.floor(free[level]! / charges[place]!))
    if (permits > 0) {
      granted[turn]! += permits
      room -= permits
      for (const [place, level] of levels.entries()) free[level]! -= permits * charges[place]!
      units += permits * cost
      served += permits * cost
      idle = 0
    } else idle++
    if (permits < due) {
      const short = shortest(wants[turn]!, free, waitOf)
      if (short !== undefined && sharers[short]! > 1) {
        claims[short] ??= turn
        free[short] = 0
        kept ??= { cursor: wants[turn]!.lane, served }
      }
      if (room === 0) {
        kept ??= { cursor: wants[turn]!.lane, served }
        break
      }
    }
    turn = (turn + 1) % wants.length
    served = 0
  }
  const after = kept ?? { cursor: wants[turn]?.lane ?? '', served }
  return { granted, units, claims, isFull: room === 0, ...after }
}

/** The level that has less than one more permit needs; of several, the one that needs longest. */
function shortest(
  { levels, charges }: WantTerms,
  free: readonly number[],
  waitOf: (level: number, units: number) => number,
): number | undefined {
  let found: number | undefined
  let longestUs = -1
  for (const [place, level] of levels.entries()) {
    if (free[level]! >= charges[place]!) continue
    const waitUs = waitOf(level, charges[place]!)
    if (waitUs <= longestUs) continue
    found = level
    longestUs = waitUs
  }
  return found
}

/** A repeated call gets what it got before, while that is young enough to be used; it was charged then. */
export function again(question: DecideQuestion, answered: Answered, nowUs: number): Turns {
  const young = nowUs - answered.atUs <= question.replayUs
  const granted = question.wants.map(({ count }, index) =>
    young ? Math.min(count, answered.granted[index] ?? 0) : 0,
  )
  return { granted, units: 0, claims: [], isFull: false, ...FIRST_TURN }
}
