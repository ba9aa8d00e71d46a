/**
 * Every metric of millrace, once. Registration, docs/metrics.md and the dashboards' checks read from here. Names are the
 * contract with prefix `millrace_`; base units; no label ever takes a value from user data (creator ids, URLs).
 */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly unit: 'seconds' | 'bytes' | 'ratio' | 'records' | 'rows' | 'count'
  readonly labels: readonly string[]
  readonly buckets?: readonly number[]
  /** When on-call looks at it. */
  readonly look: string
  /** Why it exists although no dashboard and no alert shows it. */
  readonly unused?: string
}

const SECONDS_SHORT = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const SECONDS_LONG = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400]

export const CATALOGUE = {
  jobs_consumed_total: {
    type: 'counter',
    help: 'Jobs taken in, malformed records not included.',
    unit: 'count',
    labels: ['platform'],
    look: 'producers ask whether their jobs arrive.',
  },
  jobs_finished_total: {
    type: 'counter',
    help: 'Jobs that ended, by outcome: done, skipped, dead.',
    unit: 'count',
    labels: ['platform', 'job_type', 'outcome'],
    look: 'you want to know whether work is getting done.',
  },
  jobs_in_flight: {
    type: 'gauge',
    help: 'Jobs taken in and not ended.',
    unit: 'count',
    labels: ['platform'],
    look: 'memory grows, or a drain takes long.',
  },
  jobs_queued: {
    type: 'gauge',
    help: 'Calls of jobs that wait for a permit.',
    unit: 'count',
    labels: ['platform', 'endpoint'],
    look: 'one endpoint is slower than the others.',
  },
  job_duration_seconds: {
    type: 'histogram',
    help: 'From taken in to ended, waiting for permits included.',
    unit: 'seconds',
    labels: ['platform', 'job_type'],
    buckets: SECONDS_LONG,
    look: 'jobs are slow and you ask where the time goes.',
  },
  job_freshness_seconds: {
    type: 'histogram',
    help: 'From requested_at to rows acknowledged.',
    unit: 'seconds',
    labels: ['platform'],
    buckets: SECONDS_LONG,
    look: 'analysts say that the numbers are old.',
  },
  kafka_lag_records: {
    type: 'gauge',
    help: 'Records published and not committed yet, of the partitions assigned here.',
    unit: 'records',
    labels: ['topic', 'partition'],
    look: 'work arrives faster than it ends.',
  },
  kafka_committed_total: {
    type: 'counter',
    help: 'Offsets committed: records whose effects are all stored.',
    unit: 'count',
    labels: [],
    look: 'lag grows although jobs end.',
  },
  kafka_rebalances_total: {
    type: 'counter',
    help: 'Rebalances of the consumer group, as seen here.',
    unit: 'count',
    labels: [],
    look: 'throughput has gaps.',
  },
  kafka_paused_partitions: {
    type: 'gauge',
    help: 'Partitions that the intake has paused because a bound is reached.',
    unit: 'count',
    labels: [],
    look: 'lag grows: paused means that something behind the intake is the bottleneck.',
  },
  dead_letters_total: {
    type: 'counter',
    help: 'Records given up, by reason.',
    unit: 'count',
    labels: ['platform', 'reason'],
    look: 'results are missing.',
  },
  jobs_replayed_total: {
    type: 'counter',
    help: 'Jobs that were delivered again after they had ended, and whose result was only sent again.',
    unit: 'count',
    labels: ['platform'],
    look: 'a daemon was killed, or a producer publishes its jobs twice.',
  },
  jobs_parked_total: {
    type: 'counter',
    help: 'Jobs put aside into the topic of their platform because it could not take them and others wait behind them.',
    unit: 'count',
    labels: ['platform'],
    look: 'a platform is blocked, out of quota or overloaded; kafka_lag_records of its parked topic says how many wait there.',
  },
  retries_total: {
    type: 'counter',
    help: 'Attempts that will be repeated, in place or by a retry topic, by reason.',
    unit: 'count',
    labels: ['platform', 'reason'],
    look: 'a platform seems flaky.',
  },
  permits_granted_total: {
    type: 'counter',
    help: 'Permits granted by the limiter.',
    unit: 'count',
    labels: ['platform', 'endpoint'],
    look: 'you compare what was asked with what was allowed.',
  },
  permits_denied_total: {
    type: 'counter',
    help: 'Demands that got less than they wanted, by the level that held them back.',
    unit: 'count',
    labels: ['platform', 'endpoint', 'level'],
    look: 'you ask which limit decides.',
  },
  permits_dropped_total: {
    type: 'counter',
    help: 'Permits that came too late to be used, and were not.',
    unit: 'count',
    labels: ['platform'],
    look: 'utilisation is below 97% although work waits.',
  },
  permit_wait_seconds: {
    type: 'histogram',
    help: 'How long a call waited for its permit.',
    unit: 'seconds',
    labels: ['platform', 'endpoint'],
    buckets: SECONDS_LONG,
    look: 'jobs are slow: waiting here is the limits, not a fault.',
  },
  batch_ids: {
    type: 'histogram',
    help: 'Ids asked for in one call, of endpoints that answer for many at once.',
    unit: 'count',
    labels: ['platform', 'endpoint'],
    buckets: [1, 2, 5, 10, 20, 30, 40, 50, 100, 200],
    look: 'a quota is spent early: calls that wait are shared, so they should be full.',
  },
  limit_utilisation_ratio: {
    type: 'gauge',
    help: 'Share of what a level allows that was granted over the last minute, by all daemons together.',
    unit: 'ratio',
    labels: ['level'],
    look: 'you ask whether there is room, or quota has to be bought.',
  },
  limit_factor_ratio: {
    type: 'gauge',
    help: 'Share of a level in use: below 1 since the upstream refused calls that were within it, or said that it allows less.',
    unit: 'ratio',
    labels: ['level'],
    look: 'a platform is slower than its limits: it has told us to be.',
  },
  limiter_calls_total: {
    type: 'counter',
    help: 'Calls to the limiter: ok, or error.',
    unit: 'count',
    labels: ['outcome'],
    look: 'Redis is loaded, or away.',
  },
  limiter_call_duration_seconds: {
    type: 'histogram',
    help: 'Round trip of a limiter call.',
    unit: 'seconds',
    labels: [],
    buckets: SECONDS_SHORT,
    look: 'permits are slow although there is room.',
  },
  upstream_rejections_total: {
    type: 'counter',
    help: '429 or the platform’s own throttle code, although we held a permit.',
    unit: 'count',
    labels: ['platform', 'endpoint'],
    look: 'always: above zero the configured limits are wrong.',
  },
  fetch_duration_seconds: {
    type: 'histogram',
    help: 'One request, from dispatch to complete body. status: 2xx, 3xx, 4xx, 429, 5xx, error.',
    unit: 'seconds',
    labels: ['platform', 'endpoint', 'status'],
    buckets: SECONDS_SHORT,
    look: 'you ask whether it is the upstream.',
  },
  fetch_bytes_total: {
    type: 'counter',
    help: 'Bytes of reply bodies, decompressed.',
    unit: 'bytes',
    labels: ['platform'],
    look: 'traffic costs money.',
  },
  fetches_in_flight: {
    type: 'gauge',
    help: 'Requests that are on their way.',
    unit: 'count',
    labels: ['platform'],
    look: 'you ask how much of the concurrency is used.',
  },
  breaker_open: {
    type: 'gauge',
    help: '1 while the breaker of a platform’s origin is open.',
    unit: 'count',
    labels: ['platform'],
    look: 'one platform stands still.',
  },
  pictures_total: {
    type: 'counter',
    help: 'Pictures by outcome: stored, known, rejected.',
    unit: 'count',
    labels: ['platform', 'outcome'],
    look: 'pictures are missing.',
  },
  picture_stage_duration_seconds: {
    type: 'histogram',
    help: 'Time of a picture in each stage: download, wait, resize, store.',
    unit: 'seconds',
    labels: ['stage'],
    buckets: SECONDS_SHORT,
    look: 'pictures are slow and you ask which stage.',
  },
  picture_pool_queue_size: {
    type: 'gauge',
    help: 'Pictures that wait for a worker thread.',
    unit: 'count',
    labels: [],
    look: 'the CPU is the bottleneck.',
  },
  picture_pool_utilisation_ratio: {
    type: 'gauge',
    help: 'Share of time that the worker threads are busy.',
    unit: 'ratio',
    labels: [],
    look: 'you ask whether more cores would help.',
  },
  rows_written_total: {
    type: 'counter',
    help: 'Rows that ClickHouse acknowledged.',
    unit: 'rows',
    labels: ['table'],
    look: 'tables look empty.',
  },
  rows_buffered: {
    type: 'gauge',
    help: 'Rows that wait to be written.',
    unit: 'rows',
    labels: ['table'],
    look: 'ClickHouse is slow or away.',
  },
  row_batch_rows: {
    type: 'histogram',
    help: 'Rows of one insert.',
    unit: 'rows',
    labels: ['table'],
    buckets: [1, 10, 100, 1_000, 3_000, 10_000, 30_000, 100_000],
    look: 'ClickHouse complains of too many parts.',
  },
  row_flush_duration_seconds: {
    type: 'histogram',
    help: 'One insert, by outcome: ok, error.',
    unit: 'seconds',
    labels: ['outcome'],
    buckets: SECONDS_SHORT,
    look: 'freshness suffers and fetching does not.',
  },
  event_loop_delay_seconds: {
    type: 'gauge',
    help: 'How late the event loop runs what is due, as p50, p99 and max, over the last 15 to 30 seconds.',
    unit: 'seconds',
    labels: ['stat'],
    look: 'everything is slow at once.',
  },
  daemon_ready: {
    type: 'gauge',
    help: '1 when this daemon is ready: partitions assigned, every sink reachable.',
    unit: 'count',
    labels: [],
    look: 'an alert says that a sink is away.',
  },
  credential_refused: {
    type: 'gauge',
    help: '1 while the platform’s last word about a credential was a refusal. Of several it is set aside meanwhile.',
    unit: 'count',
    labels: ['platform', 'credential'],
    look: 'an alert says so, or a platform is slower than its quotas together.',
  },
  platform_paused: {
    type: 'gauge',
    help: '1 while a platform is paused because most of its last jobs died for reasons that are not their content’s.',
    unit: 'count',
    labels: ['platform'],
    look: 'an alert says so, or one platform’s jobs stay in Kafka.',
  },
  sink_healthy: {
    type: 'gauge',
    help: '1 while a part that we write to takes what we give it: kafka, clickhouse, store, redis.',
    unit: 'count',
    labels: ['service'],
    look: 'the intake is paused and you ask why.',
  },
} as const satisfies Record<string, MetricDefinition>

export type MetricName = keyof typeof CATALOGUE
