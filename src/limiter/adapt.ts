import type { LearnQuestion, LevelTerms } from './question.ts'
import type { LevelRecord } from './state.ts'

// When an upstream refuses calls that are within the limits, the limits are wrong. Additive increase, multiplicative decrease
// (Chiu and Jain, 1989): a refusal takes three tenths off the share of the limit that is in use, and every step of time gives a
// twentieth of the whole back. Thousandths throughout, so that both deciders round alike.
const WHOLE = 1000
const RISE = 50
const FLOOR = 100
/** An interval longer than any tolerance. */
const NEVER_US = 1e15
/** Refusals come in bursts, of calls that were under way together: they are one. */
const ONE_REFUSAL_US = 5e6

/** Thousandths of the limit that are in use now. */
export function factorOf(record: LevelRecord, terms: LevelTerms, nowUs: number): number {
  if (record.factor >= WHOLE) return WHOLE
  const steps = Math.max(0, Math.floor((nowUs - record.factorAtUs) / terms.stepUs))
  return Math.min(WHOLE, record.factor + RISE * steps)
}

/**
 * The terms that hold now. `most` is the dearest single permit that is asked for: a limit never falls below what would make it
 * unobtainable. A bucket keeps its tolerance in time and lengthens the interval, so that its burst shrinks with its rate and the
 * share of it that is filled stays the same: ours is then never fuller than the platform's, whatever the factor was meanwhile.
 */
export function adapted<T extends LevelTerms>(terms: T, factor: number, most: number): T {
  if (factor >= WHOLE) return terms
  if (terms.kind !== 'bucket')
    return { ...terms, limit: Math.max(most, Math.floor((terms.limit * factor) / WHOLE)) }
  const slowerUs = Math.ceil((terms.intervalUs * WHOLE) / factor)
  return { ...terms, intervalUs: Math.min(slowerUs, Math.floor(terms.toleranceUs / most)) }
}

/** The terms of which others use the rest. Unlike a lower limit, a share may make a dear call unobtainable: it is not ours to give. */
export function shared<T extends LevelTerms>(terms: T, share: number): T {
  if (share >= WHOLE) return terms
  if (terms.kind !== 'bucket') return { ...terms, limit: Math.floor((terms.limit * share) / WHOLE) }
  return { ...terms, intervalUs: share === 0 ? NEVER_US : Math.ceil((terms.intervalUs * WHOLE) / share) }
}

/** The record after an upstream's word. */
export function learnt(
  record: LevelRecord,
  terms: LevelTerms,
  word: Pick<LearnQuestion, 'blockUs' | 'rejected' | 'cap'>,
  nowUs: number,
): LevelRecord {
  const now = factorOf(record, terms, nowUs)
  let factor = now
  if (word.rejected && (now === WHOLE || nowUs - record.factorAtUs >= ONE_REFUSAL_US))
    factor = Math.max(FLOOR, Math.floor((now * 7) / 10))
  factor = Math.min(factor, word.cap)
  const blockedUntilUs =
    word.blockUs > 0 ? Math.max(record.blockedUntilUs, nowUs + word.blockUs) : record.blockedUntilUs
  // What was said again is said for longer: the limit does not rise meanwhile.
  const isTold = factor < now || (word.cap < WHOLE && word.cap <= now)
  return { ...record, blockedUntilUs, ...(isTold ? { factor, factorAtUs: nowUs } : {}) }
}
