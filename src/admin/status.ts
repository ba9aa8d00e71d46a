import type { LevelState } from '../job/permit.ts'
import type { Reason } from '../job/reason.ts'
import type { TableName } from '../job/row.ts'

/** What the admin server asks of the daemon. Both must be cheap: readiness is asked every few seconds, the status every second. */
export interface StatusSource {
  /** `reasons` says, one sentence each, what is missing; empty when ready. */
  ready(): Readiness
  /** Counters count since the daemon started; the console makes rates of them. */
  status(): Promise<Status> | Status
  /** The bytes of one of `pictures.newest`, for the console's strip. Without it the strip stays away. */
  picture?(key: string): Promise<Buffer | null>
}

export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

/** What one daemon is doing: the JSON of `/status`, and what the console draws. */
export interface Status {
  readonly version: string
  /** RFC 3339. */
  readonly startedAt: string
  readonly uptimeS: number
  /** Which part stands behind each port: the service, or its embedded stand-in. */
  readonly mode: {
    readonly source: 'kafka' | 'file'
    readonly limiter: 'redis' | 'memory'
    readonly rows: 'clickhouse' | 'chdb'
    readonly store: 's3' | 'folder'
  }
  readonly jobs: {
    readonly consumed: number
    readonly inFlight: number
    /** Attempts put off, in place or to a retry topic. */
    readonly retried: number
    readonly finished: { readonly done: number; readonly skipped: number; readonly dead: number }
    /** Newest first, at most some dozens. */
    readonly recentFailures: readonly RecentFailure[]
  }
  /** Jobs that wait for their platform, in memory and put aside. */
  readonly parking: readonly PlatformParking[]
  /** By platform, then endpoint. */
  readonly permits: Readonly<Record<string, Readonly<Record<string, EndpointPermits>>>>
  readonly levels: readonly LevelState[]
  readonly pictures: {
    readonly stored: number
    readonly known: number
    readonly rejected: number
    /** Keys in the store, newest first, at most some dozens. */
    readonly newest: readonly string[]
  }
  /** The worker threads that resize; `utilisation` 0 to 1. */
  readonly pool: { readonly queued: number; readonly utilisation: number }
  readonly rows: {
    readonly written: Readonly<Partial<Record<TableName, number>>>
    readonly buffered: number
  }
  readonly partitions: readonly PartitionStatus[]
  /** Delay of the event loop, see telemetry/event-loop. */
  readonly loop: { readonly p50Ms: number; readonly p99Ms: number }
  readonly memory: { readonly rssBytes: number; readonly heapUsedBytes: number }
}

export interface PlatformParking {
  readonly platform: string
  /** In this daemon's memory. */
  readonly waiting: number
  /** Whether jobs that come now are put aside. */
  readonly parking: boolean
  /** In the parked topic, all daemons together; null while it is not known. */
  readonly parked: number | null
}

export interface EndpointPermits {
  /** Calls that wait for a permit now. */
  readonly queued: number
  /** Permits granted to this daemon since it started. */
  readonly granted: number
}

export interface RecentFailure {
  /** RFC 3339. */
  readonly at: string
  readonly reason: Reason
  readonly platform: string
  readonly message: string
}

export interface PartitionStatus {
  readonly topic: string
  readonly partition: number
  /** Records published and not committed yet; null while it is not known. */
  readonly lag: number | null
  readonly paused: boolean
}
