import type { BucketTerms } from './question.ts'

/**
 * Whole units that the bucket holds now. GCRA (ITU-T I.371): the bucket is how far `tatUs`, the time at which the next unit is
 * on schedule, lies ahead of now, compared with the tolerance.
 */
export function bucketUnits(tatUs: number, nowUs: number, terms: BucketTerms): number {
  const aheadUs = Math.max(0, tatUs - nowUs)
  return Math.max(0, Math.floor((terms.toleranceUs - aheadUs) / terms.intervalUs))
}

/** `tatUs` after `units` were taken. */
export function taken(tatUs: number, nowUs: number, terms: BucketTerms, units: number): number {
  return Math.max(tatUs, nowUs) + units * terms.intervalUs
}

/** In how many microseconds the bucket holds `units`, which must be within its tolerance. */
export function bucketWait(tatUs: number, nowUs: number, terms: BucketTerms, units: number): number {
  return Math.max(0, tatUs - nowUs - (terms.toleranceUs - units * terms.intervalUs))
}
