import type { WindowTerms } from './question.ts'
import type { Entry, PendingGrant } from './state.ts'

/** Units of a grant that may still arrive. */
function outstanding({ permits, arrived, charge }: PendingGrant): number {
  return (permits - arrived) * charge
}

/** Units that fill the window now; what has expired must be gone already (see `openLevel`). */
export function usedUnits(log: readonly Entry[], pending: readonly PendingGrant[]): number {
  let used = 0
  for (const { units } of log) used += units
  for (const grant of pending) used += outstanding(grant)
  return used
}

/** `timeUs` rounded up to the window's grain. */
export function grained(timeUs: number, terms: WindowTerms): number {
  return Math.ceil(timeUs / terms.grainUs) * terms.grainUs
}

/** Adds units to a log that is its caller's own, keeping it ascending; equal times share an entry. */
export function addEntry(log: Entry[], timeUs: number, units: number): void {
  let place = log.length
  while (place > 0 && log[place - 1]!.timeUs > timeUs) place--
  const before = log[place - 1]
  if (before?.timeUs === timeUs) log[place - 1] = { timeUs, units: before.units + units }
  else log.splice(place, 0, { timeUs, units })
}

/** Adds a grant to a list that is its caller's own, keeping it ascending. */
export function addPending(pending: PendingGrant[], grant: PendingGrant): void {
  let place = pending.length
  while (place > 0 && pending[place - 1]!.byUs > grant.byUs) place--
  pending.splice(place, 0, grant)
}

/**
 * Moves what has arrived from pending to the log: whatever has been acknowledged arrived before now, whenever that was. An
 * acknowledgement says how many permits of its grant have arrived in all, so that it may be repeated and come out of order. More
 * than pending, and grants that are not pending (all arrived, expired, or from before the epoch), are ignored.
 */
export function acknowledge(
  log: readonly Entry[],
  pending: readonly PendingGrant[],
  acks: readonly { readonly grant: string; readonly arrived: number }[],
  arrivedUs: number,
): { log: readonly Entry[]; pending: readonly PendingGrant[]; moved: number } {
  const places = new Map(pending.map(({ grant }, place) => [grant, place]))
  const left = [...pending]
  let moved = 0
  for (const { grant, arrived } of acks) {
    const place = places.get(grant)
    if (place === undefined) continue
    const entry = left[place]!
    const counted = Math.min(arrived, entry.permits)
    if (counted <= entry.arrived) continue
    moved += (counted - entry.arrived) * entry.charge
    left[place] = { ...entry, arrived: counted }
  }
  if (moved === 0) return { log, pending, moved }
  const arrivedLog = [...log]
  addEntry(arrivedLog, arrivedUs, moved)
  return { log: arrivedLog, pending: left.filter((entry) => outstanding(entry) > 0), moved }
}

/**
 * In how many microseconds `units` could be granted at the earliest: when enough entries have left the window. Pending ones
 * could be acknowledged right now, so they leave one window after now, or after the time they are taken to have arrived at.
 */
export function windowWait(
  log: readonly Entry[],
  pending: readonly PendingGrant[],
  terms: WindowTerms,
  nowUs: number,
  units: number,
): number {
  let missing = usedUnits(log, pending) + units - terms.limit
  if (missing <= 0) return 0
  const soonestUs = terms.causal ? grained(nowUs, terms) : Number.POSITIVE_INFINITY
  let timeUs = nowUs
  // Both lists are ascending, and so is the minimum with a constant: a merge visits the entries as they expire.
  for (let i = 0, j = 0; missing > 0 && (i < log.length || j < pending.length); ) {
    const logUs = log[i]?.timeUs ?? Number.POSITIVE_INFINITY
    const byUs = pending[j]?.byUs ?? Number.POSITIVE_INFINITY
    const pendingUs = Math.min(byUs, soonestUs)
    if (i < log.length && (j >= pending.length || logUs <= pendingUs)) {
      timeUs = logUs
      missing -= log[i++]!.units
    } else {
      timeUs = pendingUs
      missing -= outstanding(pending[j++]!)
    }
  }
  return Math.max(0, timeUs + terms.windowUs - nowUs)
}
