/**
 * The reads that dashboards make, over 50 million rows: every number, beside the roll-up of days, beside what the engine refreshes by
 * itself; bytes a row of every column; what a refresh costs. On a server of its own over HTTP, filled by INSERT … SELECT.
 *
 *   node native-bench/reads.ts [--rows 10000000] [--rounds 15] [--url http://127.0.0.1:8123 --database filled --pid 123]
 *
 * 10 million rows take some minutes to fill in, 50 million five times that. With `--url` and a database that is filled already,
 * nothing is filled in, and only reading is measured; `--pid` is the server's, for its CPU time.
 */
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { type Engine, execute, select } from '../src/timeseries/engine.ts'
import { migrate } from '../src/timeseries/migrate.ts'
import { startClickhouse } from '../test/services/clickhouse.ts'
import { contest } from './reads/contest.ts'
import { datasetOf, fillFacts, fillPoints, TODAY_MS } from './reads/dataset.ts'
import { dashboard, threeReads } from './reads/reads.ts'
import { refreshCosts } from './reads/refreshes.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    rounds: { type: 'string', default: '15' },
    url: { type: 'string' },
    database: { type: 'string', default: 'reads' },
    pid: { type: 'string' },
  },
})
const dataset = datasetOf(Number(values.rows))
const rounds = Number(values.rounds)
const now = () => performance.now() / 1000
const thousands = (n: number) => Math.round(n).toLocaleString('en')

await using started = new AsyncDisposableStack()
const server = values.url === undefined ? started.use(await startClickhouse()) : undefined
const engine = new ClickHouseEngine({
  url: values.url ?? server!.address,
  database: values.database,
  requestTimeoutMs: 1_800_000,
})
await engine.open()
started.defer(() => engine.close())
await migrate(engine)
// They would run whenever they like, also while something else is measured.
await execute(engine, 'SYSTEM STOP VIEWS')
started.defer(() => execute(engine, 'SYSTEM START VIEWS'))
console.log(
  `${cpus().length} × ${cpus()[0]?.model}, load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`,
)

if (await isEmpty(engine)) {
  const fillAt = now()
  await fillPoints(engine, dataset)
  await fillFacts(engine, dataset)
  console.log(`filled in within ${thousands(now() - fillAt)} s`)
}
// As after weeks of running: whole months are one part each, the current one is what the engine has made of it.
const mergeAt = now()
const month = new Date(TODAY_MS).toISOString().slice(0, 7).replace('-', '')
const open = await select<{ table: string; partition: string }>(
  engine,
  `SELECT table, partition FROM system.parts WHERE database = currentDatabase() AND active
  AND table IN ('points', 'points_daily') AND partition < '${month}' GROUP BY table, partition HAVING count() > 1`,
)
for (const { table, partition } of open)
  await execute(engine, `OPTIMIZE TABLE ${table} PARTITION ${partition} FINAL`)
console.log(`months merged within ${thousands(now() - mergeAt)} s`)
await execute(engine, 'SYSTEM STOP MERGES')
started.defer(() => execute(engine, 'SYSTEM START MERGES'))

for (const table of ['points', 'points_daily']) await printBytes(engine, table)

const pid = values.pid === undefined ? server?.pid : Number(values.pid)
console.log('\nrefreshes (time of the clock, CPU of the server)')
for (const cost of await refreshCosts(engine, pid)) {
  console.log(
    `  ${cost.what.padEnd(66)} ${thousands(cost.wallMs).padStart(8)} ms ${thousands(cost.cpuMs).padStart(8)} ms CPU`,
  )
}

console.log(`\nreads, caches of the engine dropped before each, ${rounds} rounds`)
const reads = [...(await threeReads(engine, dataset)), await dashboard(engine, dataset)]
for (const { question, from, rows, medianMs, p95Ms, cpuMs } of await contest(engine, reads, {
  rounds,
  pid,
})) {
  const figures = `median ${medianMs.toFixed(1).padStart(7)} ms   p95 ${p95Ms.toFixed(1).padStart(7)} ms   ${cpuMs.toFixed(0).padStart(6)} ms CPU`
  console.log(`  ${question.padEnd(36)} ${from.padEnd(16)} ${figures}   ${rows} rows`)
}
console.log(`load ${loadavg()[0]!.toFixed(1)}`)

async function isEmpty(of: Engine): Promise<boolean> {
  const [row] = await select<{ n: number | string }>(of, 'SELECT count() AS n FROM points')
  return Number(row?.n) === 0
}

async function printBytes(of: Engine, table: string): Promise<void> {
  const columns = await select<{ column: string; bytes: number | string; rows: number | string }>(
    of,
    `SELECT column, sum(column_data_compressed_bytes) AS bytes, sum(rows) AS rows FROM system.parts_columns
    WHERE database = currentDatabase() AND table = '${table}' AND active AND partition < '${month}' GROUP BY column ORDER BY bytes DESC`,
  )
  const [whole] = await select<{ bytes: number | string; rows: number | string; parts: number | string }>(
    of,
    `SELECT sum(bytes_on_disk) AS bytes, sum(rows) AS rows, count() AS parts FROM system.parts
    WHERE database = currentDatabase() AND table = '${table}' AND active`,
  )
  const each = columns.map(
    ({ column, bytes, rows }) => `${column} ${(Number(bytes) / Number(rows)).toFixed(2)}`,
  )
  const all = columns.reduce((sum, { bytes, rows }) => sum + Number(bytes) / Number(rows), 0)
  console.log(
    `${table}: ${thousands(Number(whole?.rows))} rows, ${thousands(Number(whole?.bytes) / 1e6)} MB in ${whole?.parts} parts; ` +
      `bytes a row of merged months ${all.toFixed(1)}: ${each.join(', ')}`,
  )
}
