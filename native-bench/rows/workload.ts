import type { JobRows } from '../../src/job/row.ts'

const PLATFORMS = ['instagram', 'youtube', 'tiktok'] as const

/** The n-th job of a fleet: `rows` numbers of one creator, at a moment of its own. */
export function jobOf(n: number, options: { readonly rows: number; readonly fromMs: number }): JobRows {
  return {
    jobId: `millrace.jobs-${n % 6}-${100_000 + n}`,
    platform: PLATFORMS[n % 3]!,
    creatorId: `creator_${(n * 7919) % 1_000_003}`,
    tsMs: options.fromMs + n,
    observedAtMs: options.fromMs + n + 1_500,
    rows: Array.from({ length: options.rows }, (_, m) => {
      return {
        table: 'points',
        metric: `metric_${m}`,
        value: Math.floor(1_000 * (m + 1) * (1 + (n % 97) / 97)),
      } as const
    }),
  }
}

/** Midnight UTC of yesterday: inside every table's TTL, and mostly inside one month. */
export const YESTERDAY_MS = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}
