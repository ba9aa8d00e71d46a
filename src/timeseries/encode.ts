import { type JobRows, type Row, RowsRejectedError, type TableName, TIME_MS_BELOW } from '../job/row.ts'
import { MONTHLY } from './tables.ts'

/** Rows of one job for one partition of one table, encoded: they travel and are acknowledged together. */
export interface Parcel {
  readonly table: TableName
  /** `202611`, or `all` for a table without partitions. */
  readonly partition: string
  readonly rows: number
  /** Lines of JSONCompactEachRow in the order of COLUMNS, each with its line end. */
  readonly text: string
  /** Of `text` in UTF-8. */
  readonly bytes: number
}

/** A parcel never holds more than this, except a single row that is larger. */
export interface ParcelLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

/**
 * Encodes the rows of a job, grouped by table; the order inside a table is kept. The parts that all rows share are
 * encoded once, and plain strings are only quoted, which makes it cheaper than JSON.stringify per row.
 *
 * Throws RowsRejectedError for values that the engine would not refuse but store as something else: numbers that are not
 * finite (stored as 0), counts beyond 2^53 (another one by the time we see it), whole numbers out of range (they wrap), moments
 * out of range (clamped), and what is no text or no number at all, since an own platform may be plain JavaScript.
 */
export function encode(job: JobRows, limits: ParcelLimits): Parcel[] {
  // A whole number of milliseconds is what DateTime64(3) takes fastest, here and there.
  const ts = Math.trunc(moment('ts', job.tsMs))
  const observedMs = Math.trunc(moment('observed_at', job.observedAtMs))
  const common = `${text(job.platform)},${text(job.creatorId)},${text(job.jobId)}`
  const head = `[${ts},${Math.floor(observedMs / 1000)},${common},`
  const followers = followersIn(job.rows)

  const drafts = new Map<TableName, Draft>()
  const parcels: Parcel[] = []
  const finish = (draft: Draft) => {
    const { table, rows, text } = draft
    const partition = MONTHLY.has(table) ? monthOf(ts) : 'all'
    parcels.push({ table, partition, rows, text, bytes: Buffer.byteLength(text) })
    draft.rows = 0
    draft.text = ''
  }
  // A UTF-16 unit takes three bytes at most, so that bytes need not be counted line by line.
  const lengthMax = Math.floor(limits.bytesMax / 3)
  for (const row of job.rows) {
    let draft = drafts.get(row.table)
    if (draft === undefined) {
      draft = { table: row.table, rows: 0, text: '' }
      drafts.set(row.table, draft)
    }
    // `jobs` keeps the milliseconds: they decide which of two outcomes is the later one.
    const start = row.table === 'jobs' ? `[${ts},${observedMs},${common},` : head
    const line = `${start}${cells(row, followers)}]\n`
    if (draft.rows >= limits.rowsMax || (draft.rows > 0 && draft.text.length + line.length > lengthMax))
      finish(draft)
    draft.rows += 1
    draft.text += line
  }
  for (const draft of drafts.values()) finish(draft)
  return parcels
}

interface Draft {
  readonly table: TableName
  rows: number
  text: string
}

/** The month asked for last: jobs that come together are mostly of one. */
let lastMonth = { name: '', fromMs: 0, belowMs: 0 }

/** `202611`, UTC. */
function monthOf(ms: number): string {
  if (ms >= lastMonth.fromMs && ms < lastMonth.belowMs) return lastMonth.name
  const date = new Date(ms)
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
  const name = `${year}${String(month + 1).padStart(2, '0')}`
  lastMonth = { name, fromMs: Date.UTC(year, month), belowMs: Date.UTC(year, month + 1) }
  return name
}

/** How many followers the creator has in this snapshot, by its own points; null when they do not say. */
function followersIn(rows: readonly Row[]): number | null {
  for (const row of rows) if (row.table === 'points' && row.metric === 'followers') return row.value
  return null
}

/** What a row adds to what its job's rows share, in the order of COLUMNS. */
function cells(row: Row, followers: number | null): string {
  switch (row.table) {
    case 'points':
      return `${text(row.metric)},${finite('value', row.value)}`
    case 'media_points':
      return `${text(row.mediaId)},${text(row.metric)},${finite('value', row.value)}`
    case 'creators':
      return [
        `${prose(row.name)},${prose(row.handle)},${prose(row.biography)}`,
        `${truth('verified', row.verified)},${truth('gone', row.gone)}`,
        `[${row.flags.map(text).join(',')}],${prose(row.email)},${prose(row.pictureUrl)}`,
        followers === null ? 'null' : finite('followers', followers),
      ].join(',')
    case 'media': {
      const published = Math.floor(moment('published_at', row.publishedAtMs) / 1000)
      return `${text(row.mediaId)},${text(row.kind)},${prose(row.title)},${prose(row.url)},${published}`
    }
    case 'pictures':
      return [
        `${text(row.subject)},${text(row.variant)},${text(row.key)},${prose(row.sourceUrl)},${text(row.sha256)}`,
        whole('width', row.width, 0xffff_ffff),
        whole('height', row.height, 0xffff_ffff),
        whole('bytes', row.bytes, Number.MAX_SAFE_INTEGER),
        text(row.thumbhash),
      ].join(',')
    case 'jobs':
      return [
        `${text(row.jobType)},${text(row.status)},${text(row.reason)}`,
        whole('attempts', row.attempts, 0xffff),
        whole('duration_ms', Math.round(row.durationMs), Number.MAX_SAFE_INTEGER),
      ].join(',')
  }
}

/** Printable ASCII without `"` and `\\`: all that JSON does to it is to put it in quotes. Ids and metrics mostly are. */
const PLAIN = /^[ !#-[\]-~]*$/

/** Half a surrogate pair is no text: the engine refuses the first half, and stores the second as bytes that are no letter. */
function text(value: string): string {
  if (typeof value !== 'string') throw new RowsRejectedError(`found ${value}, expected a text`)
  if (PLAIN.test(value)) return `"${value}"`
  if (value.isWellFormed()) return JSON.stringify(value)
  throw new RowsRejectedError(`found ${JSON.stringify(value)}, expected well-formed Unicode`)
}

/**
 * Text that a person wrote. Platforms cut it at a fixed length, also through the middle of an emoji, and that is no reason to lose
 * the job. Ids are never mended: they would become another id.
 */
function prose(value: string): string {
  return text(typeof value === 'string' ? value.toWellFormed() : value)
}

function finite(field: string, value: number): number {
  if (Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value
  throw new RowsRejectedError(`${field}: found ${value}, expected a finite number below 2^53`)
}

function truth(field: string, value: boolean): boolean {
  if (typeof value === 'boolean') return value
  throw new RowsRejectedError(`${field}: found ${value}, expected true or false`)
}

function whole(field: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value
  throw new RowsRejectedError(`${field}: found ${value}, expected a whole number from 0 to ${max}`)
}

function moment(field: string, ms: number): number {
  if (typeof ms === 'number' && ms >= 0 && ms < TIME_MS_BELOW) return ms
  throw new RowsRejectedError(`${field}: found ${ms} ms, expected a moment between 1970 and 2100`)
}
