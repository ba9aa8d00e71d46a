import { HEADERS, type Job, originOf } from './job.ts'
import { headerText, type SourceRecord } from './record.ts'

/**
 * What is known of jobs beyond the process that did them, each by its name (`markOf`). A mark is kept for a while and then
 * forgotten; one that is lost costs a repetition, never a job.
 */
export interface Marks {
  /** The result with which a job ended, byte for byte, or null when it is not known to have ended. */
  ended(name: string, signal: AbortSignal): Promise<Buffer | null>
  /**
   * Notes how a job ended, unless that is known already. Resolves with the result that stands: of several daemons that end
   * the same job, all get the first one's.
   */
  end(name: string, result: Buffer, signal: AbortSignal): Promise<Buffer>
  /** The name of the job that scraped this creator last, if that is remembered still. */
  scrapedBy(scraped: Scraped, signal: AbortSignal): Promise<string | null>
  /** Notes that the job of that name has scraped a creator, for so many ms. */
  scraped(scraped: Scraped, name: string, keepMs: number, signal: AbortSignal): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

/** What `min_interval` counts by. */
export interface Scraped {
  readonly platform: string
  /** As the platform normalises it. */
  readonly creatorId: string
  readonly jobType: string
}

/**
 * The name of a job among the marks. A job is what its rows are: the same id for another creator, type or logical time is
 * another job, and so is a dead letter that was sent back.
 */
export function markOf(job: Job): string {
  const { platform, type, creatorId, requestedAtMs, id, replayOf } = job
  // Ids may hold anything, so nothing less tells where one ends; a digest would take longer than all else here.
  return JSON.stringify([platform, type, creatorId, requestedAtMs, id, replayOf])
}

/** The name of a record that is no job: its first place, and which dead letter it is when it was sent back. */
export function markOfRecord(record: SourceRecord): string {
  const { topic, partition, offset, timestampMs } = originOf(record)
  const replayOf = headerText(record.headers, HEADERS.replayOf)
  return `record:${topic}-${partition}-${offset}:${timestampMs}${replayOf === undefined ? '' : `:${replayOf}`}`
}

/** The name under which a creator's last scrape is noted. */
export function scrapeMarkOf({ platform, jobType, creatorId }: Scraped): string {
  return JSON.stringify([platform, jobType, creatorId])
}
