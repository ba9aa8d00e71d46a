import type { TableName } from '../job/row.ts'

/**
 * The columns that the daemon writes, in the order in which encode.ts puts them into a row. Columns that are not named here
 * (`version`, `ord`) take their defaults: 1 is the version of everything that a platform said, higher ones are corrections.
 */
export const COLUMNS: Readonly<Record<TableName, readonly string[]>> = {
  points: ['ts', 'observed_at', 'platform', 'creator_id', 'job_id', 'metric', 'value'],
  creators: [
    ...['ts', 'observed_at', 'platform', 'creator_id', 'job_id'],
    ...['name', 'handle', 'biography', 'verified', 'gone', 'flags', 'email', 'picture_url', 'followers'],
  ],
  media: [
    ...['ts', 'observed_at', 'platform', 'creator_id', 'job_id'],
    ...['media_id', 'kind', 'title', 'url', 'published_at'],
  ],
  media_points: ['ts', 'observed_at', 'platform', 'creator_id', 'job_id', 'media_id', 'metric', 'value'],
  pictures: [
    ...['ts', 'observed_at', 'platform', 'creator_id', 'job_id'],
    ...['subject', 'variant', 'key', 'source_url', 'sha256', 'width', 'height', 'bytes', 'thumbhash'],
  ],
  jobs: [
    ...['ts', 'observed_at', 'platform', 'creator_id', 'job_id'],
    ...['job_type', 'status', 'reason', 'attempts', 'duration_ms'],
  ],
}

export const TABLES = Object.keys(COLUMNS) as readonly TableName[]

/**
 * Tables that are partitioned by the month of `ts`. A batch stays inside one partition, because an insert is atomic per
 * partition only.
 */
export const MONTHLY: ReadonlySet<TableName> = new Set<TableName>(['points', 'media_points', 'jobs'])

/** The table that an insert names, where it is another: `creators_in` compares snapshots with those before (migration 0006). */
export const INSERTED_INTO: Readonly<Partial<Record<TableName, string>>> = { creators: 'creators_in' }

/** What rows pass through on their way. Without them an insert would be acknowledged and kept nowhere. */
export const PASSED_THROUGH = [
  'creators_in',
  'creators_compared',
  'creators_compared_mv',
  'creators_mv',
] as const

/**
 * Tables of which one batch is inserted at a time, because an insert looks at what is stored: of two at once, neither would see
 * the other's snapshots.
 */
export const ONE_AT_A_TIME: ReadonlySet<TableName> = new Set<TableName>(['creators'])
