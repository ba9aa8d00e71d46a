import { generator } from '../generator.ts'
import { type Draw, FAULT_NAMES, type FaultName } from './faults.ts'

export interface Planned {
  readonly name: FaultName
  /** As soon as so many jobs have a result. */
  readonly atJobs: number
  /** What else has to be decided about it. */
  readonly draw: Draw
}

/** Faults lie between these shares of the jobs: the group is at work before the first, and has work after the last. */
const FROM = 0.04
const TO = 0.72

/**
 * Which faults, in which order, when: all from the seed. Kinds come in shuffled rounds, so that none comes a second time before
 * every one has come once. Each fault has a generator of its own, so that what it draws depends on no other.
 */
export function planFaults(seed: number, options: { faults: number; jobs: number }): Planned[] {
  const { faults, jobs } = options
  const random = generator(seed)
  const names: FaultName[] = []
  while (names.length < faults) names.push(...shuffled(FAULT_NAMES, random))
  return names.slice(0, faults).map((name, index) => {
    const share = FROM + ((TO - FROM) * (index + random())) / faults
    return { name, atJobs: Math.round(jobs * share), draw: drawFrom(generator(seed + 7919 * (index + 1))) }
  })
}

function drawFrom(random: () => number): Draw {
  return (from, to) => from + Math.floor(random() * (to - from + 1))
}

/** Fisher and Yates. */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  const list = [...all]
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const moved = list[i]!
    list[i] = list[j]!
    list[j] = moved
  }
  return list
}
