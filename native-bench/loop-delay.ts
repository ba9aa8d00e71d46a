/**
 * How long the event loop is held up while rows are written at a given pace, over HTTP to a server of its own: what the daemon's
 * fetches feel of it. Jobs are made on the fly, as they end in the daemon; the same pace without writing is measured beside it.
 *
 *   node native-bench/loop-delay.ts [--rows-per-s 100000] [--seconds 30] [--job-rows 20]
 */
import { loadavg } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { select } from '../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../src/timeseries/row-sink.ts'
import { startClickhouse } from '../test/services/clickhouse.ts'
import { jobOf, YESTERDAY_MS } from './rows/workload.ts'

const { values } = parseArgs({
  options: {
    'rows-per-s': { type: 'string', default: '100000' },
    seconds: { type: 'string', default: '30' },
    'job-rows': { type: 'string', default: '20' },
  },
})
const [rowsPerS, seconds, jobRows] = [values['rows-per-s'], values.seconds, values['job-rows']].map(Number)
const jobsPerMs = rowsPerS! / jobRows! / 1_000
const never = new AbortController().signal

/** As `intake.jobs_max`: no more jobs are begun while so many have not ended. */
const JOBS_AT_ONCE = 10_000
/** Ten times what is due in one turn of 2 ms at the pace asked for. */
const JOBS_A_TURN = Math.ceil(jobsPerMs * 20)

/** Begins as many jobs as are due every few milliseconds, for so long; resolves with how many there were when all have ended. */
async function paced(durationMs: number, begin: (n: number) => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  const writes = new Set<Promise<void>>()
  let begun = 0
  for (let elapsedMs = 0; elapsedMs < durationMs; elapsedMs = performance.now() - startedMs) {
    // What could not be begun in time is not made up for all at once, or the benchmark would hold up the loop itself.
    const due = Math.min(elapsedMs * jobsPerMs, begun + JOBS_A_TURN)
    for (; begun < due && writes.size < JOBS_AT_ONCE; begun += 1) {
      const write = begin(begun).then(() => {
        writes.delete(write)
      })
      writes.add(write)
    }
    await sleep(2)
  }
  await Promise.all(writes)
  return begun
}

async function measure(what: string, begin: (n: number) => Promise<void>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const before = process.cpuUsage()
  const startedMs = performance.now()
  delay.enable()
  const jobs = await paced(seconds! * 1_000, begin)
  delay.disable()
  const tookS = (performance.now() - startedMs) / 1_000
  const used = process.cpuUsage(before)
  // The histogram counts the millisecond between two of its looks as delay, too.
  const ms = (ns: number) => Math.max(0, ns / 1e6 - 1).toFixed(1)
  const pace = Math.round((jobs * jobRows!) / tookS).toLocaleString('en')
  console.log(
    `${what.padEnd(18)} ${pace} rows/s for ${tookS.toFixed(0)} s; event loop late by p50 ${ms(delay.percentile(50))} ms, ` +
      `p99 ${ms(delay.percentile(99))} ms, max ${ms(delay.max)} ms; ` +
      `CPU of this process ${Math.round((used.user + used.system) / 1e4 / tookS)}%, ` +
      `resident ${Math.round(process.memoryUsage.rss() / 1e6)} MB; load ${loadavg()[0]!.toFixed(1)}`,
  )
  return jobs
}

await using started = new AsyncDisposableStack()
const server = started.use(await startClickhouse())
const engine = new ClickHouseEngine({ url: server.address, database: 'paced' })
started.defer(() => engine.close())
const sink = new TimeSeriesSink({
  engine,
  metrics: createMetrics(),
  log: createLog({ level: 'warn', pretty: false, secrets: [] }),
  keepEngineOpen: true,
})
await sink.start()
const make = (n: number) => jobOf(n, { rows: jobRows!, fromMs: YESTERDAY_MS })
let made = 0
await measure('without writing', (n) => {
  made += make(n).rows.length
  return Promise.resolve()
})
const jobs = await measure('written', (n) => sink.write(make(n), never))
await sink.stop()
const [stored] = await select<{ n: number | string }>(engine, 'SELECT count() AS n FROM points FINAL')
console.log(`${stored?.n} rows stored, ${jobs * jobRows!} written (${made} made without writing)`)
