/**
 * Rows per second through the sink beside a bare loop of client.insert over the same batches, two in flight in both, over HTTP to a
 * server of its own and with the embedded engine. Rounds alternate, so that what else the machine does meets both alike. The target
 * is a ratio of 0.9.
 *
 *   node native-bench/rows.ts [http|embedded] [--job-rows 20] [--rounds 7]     MILLRACE_TEST_CLICKHOUSE names a server that is there
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { ChdbEngine } from '../src/timeseries/chdb.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { type Engine, execute, select, sqlTime } from '../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../src/timeseries/row-sink.ts'
import { COLUMNS } from '../src/timeseries/tables.ts'
import { provide } from '../test/services/provide.ts'
import { jobOf, median, YESTERDAY_MS } from './rows/workload.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'job-rows': { type: 'string', default: '20' },
    rounds: { type: 'string', default: '7' },
  },
})
const ROUNDS = Number(options.rounds)
const JOB_ROWS = Number(options['job-rows'])
const BATCHES = 12
const BATCH_ROWS = 10_000
const IN_FLIGHT = 2
const JOBS_AT_ONCE = (4 * BATCH_ROWS) / JOB_ROWS
/** Of the rounds on one engine. */
const WITHIN_MS = 40_000

const never = new AbortController().signal
const jobs = Array.from({ length: (BATCHES * BATCH_ROWS) / JOB_ROWS }, (_, n) =>
  jobOf(n, { rows: JOB_ROWS, fromMs: YESTERDAY_MS }),
)
const batches: readonly unknown[][] = Array.from({ length: BATCHES }, (_, batch) => {
  const size = BATCH_ROWS / JOB_ROWS
  return jobs.slice(batch * size, (batch + 1) * size).flatMap((job) => {
    const { tsMs, observedAtMs, platform, creatorId, jobId } = job
    const head = [sqlTime(tsMs), Math.floor(observedAtMs / 1000), platform, creatorId, jobId]
    return job.rows.map((row) => (row.table === 'points' ? [...head, row.metric, row.value] : []))
  })
})

async function bare(engine: Engine): Promise<void> {
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
async function throughSink(sink: TimeSeriesSink): Promise<void> {
  const left = jobs.values()
  const loop = async () => {
    for (const job of left) await sink.write(job, never)
  }
  await Promise.all(Array.from({ length: JOBS_AT_ONCE }, loop))
}

interface Measured {
  readonly rowsPerS: number
  /** Of this process; the embedded engine's work is in it, a server's is not. Steadier than the clock on a busy machine. */
  readonly cpuUsPerRow: number
}

async function measure(engine: Engine, run: () => Promise<void>): Promise<Measured> {
  for (const table of ['points', 'points_daily']) await execute(engine, `TRUNCATE TABLE ${table}`)
  const startedMs = performance.now()
  const before = process.cpuUsage()
  await run()
  const seconds = (performance.now() - startedMs) / 1_000
  const used = process.cpuUsage(before)
  const [stored] = await select<{ n: number | string }>(engine, 'SELECT count() AS n FROM points FINAL')
  const rows = BATCHES * BATCH_ROWS
  if (Number(stored?.n) !== rows) throw new Error(`${stored?.n} rows stored, expected all`)
  return { rowsPerS: rows / seconds, cpuUsPerRow: (used.user + used.system) / rows }
}

async function contest(engine: Engine): Promise<void> {
  const sink = new TimeSeriesSink({
    engine,
    metrics: createMetrics(),
    log: createLog({ level: 'warn', pretty: false, secrets: [] }),
    keepEngineOpen: true,
  })
  try {
    await sink.start()
    await bare(engine)
    await throughSink(sink)
    const rounds: { bare: Measured; sink: Measured }[] = []
    const endsAtMs = performance.now() + WITHIN_MS
    for (let round = 0; round < ROUNDS && performance.now() < endsAtMs; round += 1) {
      const measureSink = () => measure(engine, () => throughSink(sink))
      const first = round % 2 === 0 ? undefined : await measureSink()
      const beside = await measure(engine, () => bare(engine))
      rounds.push({ bare: beside, sink: first ?? (await measureSink()) })
    }
    console.log(
      `engine ${engine.name}; medians of ${rounds.length} rounds, ${BATCHES} batches of ${BATCH_ROWS} rows, ` +
        `${JOB_ROWS} rows a job; load ${loadavg()[0]!.toFixed(1)}`,
    )
    for (const [name, which] of [
      ['client.insert', 'bare'],
      ['sink', 'sink'],
    ] as const) {
      const rowsPerS = Math.round(median(rounds.map((round) => round[which].rowsPerS))).toLocaleString('en')
      const cpu = median(rounds.map((round) => round[which].cpuUsPerRow)).toFixed(2)
      console.log(`  ${name.padEnd(14)} ${rowsPerS.padStart(8)} rows/s   ${cpu} µs CPU of this process a row`)
    }
    const ratio = median(rounds.map((round) => round.sink.rowsPerS / round.bare.rowsPerS))
    const cpuRatio = median(rounds.map((round) => round.sink.cpuUsPerRow / round.bare.cpuUsPerRow))
    console.log(
      `  ratio          ${ratio.toFixed(2)} of the rows/s, ${cpuRatio.toFixed(2)} of the CPU (medians of the rounds)`,
    )
  } finally {
    await sink.stop()
    await execute(engine, `DROP DATABASE IF EXISTS ${engine.database} SYNC`)
    await engine.close()
  }
}

const database = `bench_${randomUUID().replaceAll('-', '')}`
const which = positionals[0]
if (which !== 'embedded') {
  const server = await provide('clickhouse')
  try {
    await contest(new ClickHouseEngine({ url: server.address, database }))
  } finally {
    await server.stop()
  }
}
if (which !== 'http') {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  try {
    await contest(new ChdbEngine({ path: folder, database }))
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  }
}
