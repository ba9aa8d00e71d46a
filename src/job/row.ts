/**
 * Moments of rows are below this, the year 2100, and not negative. DateTime ends in February 2106, and the age at which a row is
 * deleted has to fit in as well.
 */
export const TIME_MS_BELOW = Date.UTC(2100, 0)

/** One number of one creator at one moment: a row of `points`. */
export interface PointRow {
  readonly table: 'points'
  readonly metric: string
  /** Finite, below 2^53. A number the platform hides is not a point: leave it out. */
  readonly value: number
}

/** Newest facts of a creator: a row of `creators`. */
export interface CreatorRow {
  readonly table: 'creators'
  readonly name: string
  readonly handle: string
  readonly biography: string
  readonly verified: boolean
  /** True when the platform says that there is no such creator (any more). */
  readonly gone: boolean
  /** Quality flags, e.g. `suspicious_engagement`. */
  readonly flags: readonly string[]
  readonly email: string
  readonly pictureUrl: string
}

/** A post: a row of `media`. */
export interface MediaRow {
  readonly table: 'media'
  readonly mediaId: string
  readonly kind: string
  readonly title: string
  readonly url: string
  readonly publishedAtMs: number
}

/** One number of one post at one moment: a row of `media_points`. */
export interface MediaPointRow {
  readonly table: 'media_points'
  readonly mediaId: string
  readonly metric: string
  readonly value: number
}

/** A stored variant of a picture: a row of `pictures`. */
export interface PictureRow {
  readonly table: 'pictures'
  /** `avatar` or the id of the post it belongs to. */
  readonly subject: string
  readonly variant: string
  readonly key: string
  readonly sourceUrl: string
  readonly sha256: string
  readonly width: number
  readonly height: number
  readonly bytes: number
  /** Base64 of a thumbhash: something to show before the picture. */
  readonly thumbhash: string
}

/** The terminal outcome of a job: a row of `jobs`. */
export interface JobRow {
  readonly table: 'jobs'
  readonly jobType: string
  readonly status: 'done' | 'skipped' | 'dead'
  readonly reason: string
  readonly attempts: number
  readonly durationMs: number
}

/** What an adapter may return. The pipeline adds the rest. */
export type AdapterRow = PointRow | CreatorRow | MediaRow | MediaPointRow
export type Row = AdapterRow | PictureRow | JobRow
export type TableName = Row['table']

/** All rows of one job, with what they have in common. */
export interface JobRows {
  readonly jobId: string
  readonly platform: string
  readonly creatorId: string
  /** The logical time of the snapshot: the job's `requested_at`, Unix ms. A replay writes the same rows. */
  readonly tsMs: number
  /** When the platform really answered, Unix ms. */
  readonly observedAtMs: number
  readonly rows: readonly Row[]
}

/** Where rows go. */
export interface RowSink {
  /**
   * Resolves when every row is stored (acknowledged by the engine). Waits, with back-pressure, while the engine is
   * away or the buffer is full; rejects with RowsRejectedError when the engine refuses these very rows, with an
   * AbortError when `signal` is aborted.
   */
  write(rows: JobRows, signal: AbortSignal): Promise<void>
  /** False while inserts fail; for readiness and to pause the intake. */
  readonly healthy: boolean
  start(): Promise<void>
  /** Flushes what is buffered, then closes. */
  stop(): Promise<void>
}

/** The engine refuses rows of this job for what they are (a bad value), not for where it is. */
export class RowsRejectedError extends Error {
  override readonly name = 'RowsRejectedError'
}
