import type { Delivery } from '../job/record.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Bounds } from './room.ts'
import type { Source } from './source.ts'

export interface IntakeOptions {
  /** Records handed out and not settled. Default 10,000. */
  readonly jobsMax?: number
  /** Bytes of the records in memory. Default 64 MiB. One record is always let through, however large. */
  readonly bytesMax?: number
  /** At either bound partitions are paused until no more than this share of it is taken. Default 0.5. */
  readonly resumeShare?: number
  /** Topics of which no more is handed out at a time than this, each by itself. */
  readonly topicBounds?: ReadonlyMap<string, Bounds>
  /** Records of one partition from the smallest unfinished one to the newest: what a crash repeats. Default 20,000. */
  readonly spanMax?: number
  /** Default 1,000. */
  readonly commitEveryMs?: number
  /** Topics whose records wait for their `millrace-due-at`. */
  readonly retryTopics?: readonly string[]
  /** A due time further away than this counts as this far: one mad header must not stop a partition. Default 6 h. */
  readonly dueWaitMsMax?: number
  /** Shares of the topics in what is handed out while there is more than room for. Default 1 each. */
  readonly weights?: Readonly<Record<string, number>>
  /**
   * How much of a turn of the event loop handing out may take, ms. Default 3: a fetch may bring thousands of records, and in one
   * go they would hold up everything else.
   */
  readonly handMsMax?: number
  /** Whether a finite run goes on until its waiting retries are done (default), or leaves them to the next run. */
  readonly waitForRetries?: boolean
}

export interface IntakeParts {
  readonly source: Source
  readonly metrics: Metrics
  readonly log: Log
  /** Unix milliseconds. Default Date.now. */
  readonly now?: () => number
}

export interface IntakeHandlers {
  /** Takes the delivery and returns at once. An exception here is a fault of ours and fatal. */
  readonly onDelivery: (delivery: Delivery) => void
  /** The intake cannot go on: the process should exit non-zero. */
  readonly onFatal: (error: Error) => void
}
