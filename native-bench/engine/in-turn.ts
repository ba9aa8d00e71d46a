import type { Figures } from './contest.ts'

/**
 * Lets contestants do rounds in turn, and returns the figures of each, by round. Each goes first as often as the others: what a round
 * leaves behind falls on all alike.
 */
export async function inTurn<Name extends string>(
  names: readonly Name[],
  rounds: number,
  run: (name: Name) => Promise<Figures>,
): Promise<Map<Name, Figures[]>> {
  const all = new Map(names.map((name): [Name, Figures[]] => [name, []]))
  for (let turn = 0; turn < rounds; turn += 1) {
    const first = turn % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) all.get(name)?.push(await run(name))
  }
  return all
}

export function perSecond({ requests, elapsedMs }: Figures): number {
  return (requests / elapsedMs) * 1_000
}

/** Microseconds. */
export function cpuEach({ cpuMicros, requests }: Figures): number {
  return cpuMicros / requests
}
