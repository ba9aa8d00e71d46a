import type { ReplayState } from '../dead-letters/replay-desk.ts'
import type { Member } from '../fleet/member.ts'
import type { LevelState } from '../job/permit.ts'
import type { Reason, ReasonKind } from '../job/reason.ts'
import type { TableName } from '../job/row.ts'
import type { CredentialState } from '../pipeline/credentials.ts'
import type { History, HistoryPoint, HistoryReport } from './history.ts'

/** What the admin server asks of the daemon. Both must be cheap: readiness is asked every few seconds, the status every second. */
export interface StatusSource {
  /** `reasons` says, one sentence each, what is missing; empty when ready. */
  ready(): Readiness
  /** Counters count since the daemon started; the console makes rates of them. */
  status(): Promise<Status> | Status
  /** The bytes of one of `pictures.newest`, for the console's strip. Without it the strip stays away. */
  picture?(key: string): Promise<Buffer | null>
  /** The last quarter of an hour, for the console's chart. */
  history?: Pick<History, 'report' | 'last'>
}

/** A part that the daemon writes to. */
export interface ServiceStatus {
  readonly service: string
  /** What it means that it is away; null while it takes what we give it. */
  readonly away: string | null
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
    /** Newest first, a few of each reason. */
    readonly recentFailures: readonly RecentFailure[]
    /** How often each reason has come up since the start; those that never did are left out. */
    readonly reasons: readonly ReasonCount[]
  }
  /** What stands between jobs and each platform, beyond its limits. */
  readonly platforms: readonly PlatformStatus[]
  readonly services: readonly ServiceStatus[]
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
  /** Offsets committed. */
  readonly committed: number
  /** The last sending back of dead letters that was asked for here; null while there was none. */
  readonly replay: ReplayState | null
  /** The daemons that share our Redis, this one among them. Empty without Redis, and while it is away. */
  readonly fleet: readonly Member[]
  /** Delay of the event loop, see telemetry/event-loop. */
  readonly loop: { readonly p50Ms: number; readonly p99Ms: number }
  readonly memory: { readonly rssBytes: number; readonly heapUsedBytes: number }
}

/** What a console is told every second. */
export interface ConsoleEvent extends Status {
  readonly ready: Readiness
  /** Whether there is an admin token, so that who has it may change something. */
  readonly canChange: boolean
  /** The newest place of the chart. */
  readonly point: HistoryPoint | null
}

/** What a console is told once, when it connects. */
export interface ConsoleGreeting {
  readonly history: HistoryReport | null
  /** What each reason means and what to do about it. */
  readonly reasons: Readonly<Record<string, { readonly what: string; readonly act: string }>>
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
  /** `dead`: given up. `retry`: it comes again. */
  readonly outcome: 'dead' | 'retry'
  /** As the producer wrote it: never to be taken for markup. Empty for a record that is no job. */
  readonly jobId: string
  readonly creatorId: string
}

export interface ReasonCount {
  readonly reason: Reason
  readonly kind: ReasonKind
  readonly dead: number
  readonly retried: number
}

export interface PlatformStatus {
  readonly platform: string
  /** Why nothing is asked of it; null while it is. */
  readonly pausedBecause: string | null
  /** Whether it may be resumed: without credentials there is nothing to go on with. */
  readonly hasCredentials: boolean
  readonly credentials: readonly CredentialState[]
  /** Requests on their way. */
  readonly fetching: number
  /** Its origin fails so often that it is only probed now and then. */
  readonly breakerOpen: boolean
  /** Calls that it refused although we held a permit. */
  readonly rejections: number
}

export interface PartitionStatus {
  readonly topic: string
  readonly partition: number
  /** Records published and not committed yet; null while it is not known. */
  readonly lag: number | null
  readonly paused: boolean
}
