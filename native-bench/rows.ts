import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobRows } from '../src/job/row.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { ChdbEngine } from '../src/timeseries/chdb.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { type Engine, execute, select, sqlTime } from '../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../src/timeseries/row-sink.ts'
import { COLUMNS } from '../src/timeseries/tables.ts'

// Rows per second through the sink beside a bare loop of client.insert over the same batches, two in flight in both.
// Rounds alternate, so that what else the machine does meets both alike. The target is a ratio of 0.9.
//
//   node native-bench/rows.ts [http://127.0.0.1:8123]      default: MILLRACE_TEST_CLICKHOUSE, else the embedded engine

const ROUNDS = 7
const BATCHES = 12
const BATCH_ROWS = 10_000
const JOB_ROWS = 20
const IN_FLIGHT = 2
const JOBS_AT_ONCE = (4 * BATCH_ROWS) / JOB_ROWS

const url = process.argv[2] ?? process.env.MILLRACE_TEST_CLICKHOUSE
const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
const database = `bench_${randomUUID().replaceAll('-', '')}`
const engine: Engine =
  url === undefined ? new ChdbEngine({ path: folder, database }) : new ClickHouseEngine({ url, database })
const sink = new TimeSeriesSink({
  engine,
  metrics: createMetrics(),
  log: createLog({ level: 'warn', pretty: false, secrets: [] }),
  keepEngineOpen: true,
})

const startMs = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000
const jobs: readonly JobRows[] = Array.from({ length: (BATCHES * BATCH_ROWS) / JOB_ROWS }, (_, n) => ({
  jobId: `millrace.jobs-${n % 6}-${100_000 + n}`,
  platform: ['instagram', 'youtube', 'tiktok'][n % 3]!,
  creatorId: `creator_${(n * 7919) % 1_000_003}`,
  tsMs: startMs + n,
  observedAtMs: startMs + n + 1_500,
  rows: Array.from({ length: JOB_ROWS }, (_, m) => {
    return {
      table: 'points',
      metric: `metric_${m}`,
      value: Math.floor(1_000 * (m + 1) * (1 + (n % 97) / 97)),
    } as const
  }),
}))
const batches: readonly unknown[][] = Array.from({ length: BATCHES }, (_, batch) => {
  const size = BATCH_ROWS / JOB_ROWS
  return jobs.slice(batch * size, (batch + 1) * size).flatMap((job) => {
    const head = [
      sqlTime(job.tsMs),
      Math.floor(job.observedAtMs / 1000),
      job.platform,
      job.creatorId,
      job.jobId,
    ]
    return job.rows.map((row) => (row.table === 'points' ? [...head, row.metric, row.value] : []))
  })
})

async function bare(): Promise<void> {
  const left = [...batches]
  const [first, ...columns] = COLUMNS.points as [string, ...string[]]
  const loop = async () => {
    for (let values = left.shift(); values !== undefined; values = left.shift()) {
      // The one setting that makes the acknowledgement mean stored, as the sink has it; in the text, as chDB wants it.
      const table = `points (${[first, ...columns].join(', ')}) SETTINGS async_insert = 0`
      await engine.write.insert({ table, values, format: 'JSONCompactEachRow' })
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
}

/** Jobs end one by one in the daemon too: as many at once as keep both inserts fed. */
async function throughSink(): Promise<void> {
  const never = new AbortController().signal
  const left = jobs.values()
  const loop = async () => {
    for (const job of left) await sink.write(job, never)
  }
  await Promise.all(Array.from({ length: JOBS_AT_ONCE }, loop))
}

interface Measured {
  readonly rowsPerS: number
  /** Of this process, for one batch; with a server it is the client's side alone. Steadier than the clock on a busy machine. */
  readonly cpuMs: number
}

async function measure(run: () => Promise<void>): Promise<Measured> {
  await execute(engine, 'TRUNCATE TABLE points')
  await execute(engine, 'TRUNCATE TABLE points_daily')
  const startedMs = performance.now()
  const before = process.cpuUsage()
  await run()
  const seconds = (performance.now() - startedMs) / 1_000
  const used = process.cpuUsage(before)
  const [stored] = await select<{ n: number | string }>(engine, 'SELECT count() AS n FROM points FINAL')
  if (Number(stored?.n) !== BATCHES * BATCH_ROWS) throw new Error(`${stored?.n} rows stored, expected all`)
  return { rowsPerS: (BATCHES * BATCH_ROWS) / seconds, cpuMs: (used.user + used.system) / 1_000 / BATCHES }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

try {
  await sink.start()
  await bare()
  const rounds: { bare: Measured; sink: Measured }[] = []
  const endsAtMs = performance.now() + 20_000
  for (let round = 0; round < ROUNDS && performance.now() < endsAtMs; round += 1) {
    if (round % 2 === 0) {
      const first = await measure(bare)
      rounds.push({ bare: first, sink: await measure(throughSink) })
    } else {
      const first = await measure(throughSink)
      rounds.push({ bare: await measure(bare), sink: first })
    }
  }
  const print = (name: string, which: 'bare' | 'sink') => {
    const rowsPerS = Math.round(median(rounds.map((round) => round[which].rowsPerS))).toLocaleString('en')
    const cpuMs = median(rounds.map((round) => round[which].cpuMs)).toFixed(1)
    console.log(`${name.padEnd(14)} ${rowsPerS} rows/s, ${cpuMs} ms CPU of this process a batch`)
  }
  console.log(
    `engine ${engine.name}; medians of ${rounds.length} rounds, ${BATCHES} batches of ${BATCH_ROWS} rows each`,
  )
  print('client.insert', 'bare')
  print('sink', 'sink')
  const ratio = median(rounds.map((round) => round.sink.rowsPerS / round.bare.rowsPerS))
  console.log(`ratio          ${ratio.toFixed(2)} (median of the rounds; ${JOB_ROWS} rows a job)`)
} finally {
  await sink.stop()
  await execute(engine, `DROP DATABASE IF EXISTS ${database} SYNC`)
  await engine.close()
  await rm(folder, { recursive: true, force: true })
}
