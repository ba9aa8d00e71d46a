/**
 * The writer's books: jobs are written without pause while the server is killed five times, stands still for 30 s, and gets no more
 * disk. Afterwards every acknowledged row is there, once, nothing is there that was not written, and memory was bounded all the time.
 *
 *   node native-bench/faults.ts [--kills 5] [--stalls 1] [--stall-s 30] [--full-s 15] [--collect]
 *
 * `--stalls 10 --stall-s 5` says whether memory levels off; with `--collect` nothing is taken in after each fault until all is
 * written, and garbage is collected: what is left is in use, or lost.
 *
 * The disk is filled up by a file beside the server's, so its folder has to be on a small disk: as root,
 *   mount -t tmpfs -o size=600m tmpfs <folder> && TMPDIR=<folder> node native-bench/faults.ts
 * Elsewhere (more than 2 GB free) that part is left out.
 */
import { rm, statfs } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { BATCHER_LIMITS } from '../src/timeseries/batcher.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { execute, select } from '../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../src/timeseries/row-sink.ts'
import { startClickhouse } from '../test/services/clickhouse.ts'
import { fillUp } from './rows/fill-up.ts'
import { jobOf, YESTERDAY_MS } from './rows/workload.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '5' },
    stalls: { type: 'string', default: '1' },
    'stall-s': { type: 'string', default: '30' },
    'full-s': { type: 'string', default: '15' },
    collect: { type: 'boolean', default: false },
  },
})
const JOB_ROWS = 20
/** As `intake.jobs_max`: so many jobs at most wait for their rows; the intake takes no more until one has ended. */
const JOBS_AT_ONCE = 10_000
/** Between faults, so that the disk of a test is not full by itself. */
const ROWS_PER_S = 20_000
const SMALL_DISK_BYTES = 2e9
const never = new AbortController().signal

await using started = new AsyncDisposableStack()
const server = started.use(await startClickhouse())
const engine = new ClickHouseEngine({ url: server.address, database: 'faults' })
started.defer(() => engine.close())
const sink = new TimeSeriesSink({
  engine,
  metrics: createMetrics(),
  log: createLog({ level: 'error', pretty: false, secrets: [] }),
  keepEngineOpen: true,
})
await sink.start()

const books = { begun: 0, acknowledged: 0, bufferedMax: 0, rssMaxMb: 0 }
const stopping = new AbortController()
let held = false

/** Takes in jobs at the pace, never more than JOBS_AT_ONCE that have not ended: what the daemon's intake does. */
async function takeIn(): Promise<void> {
  const writes = new Set<Promise<void>>()
  for (let lastMs = performance.now(), due = 0; !stopping.signal.aborted; ) {
    const nowMs = performance.now()
    due = Math.min(due + ((nowMs - lastMs) * ROWS_PER_S) / JOB_ROWS / 1_000, 1_000)
    lastMs = nowMs
    for (; due >= 1 && writes.size < JOBS_AT_ONCE && !held; due -= 1) {
      const write = sink
        .write(jobOf(books.begun, { rows: JOB_ROWS, fromMs: YESTERDAY_MS }), never)
        .then(() => {
          books.acknowledged += 1
          writes.delete(write)
        })
      books.begun += 1
      writes.add(write)
    }
    books.bufferedMax = Math.max(books.bufferedMax, sink.bufferedRows)
    books.rssMaxMb = Math.max(books.rssMaxMb, process.memoryUsage.rss() / 1e6)
    await sleep(5)
  }
  await Promise.all(writes)
}

/** Resolves when rows are acknowledged again after `sinceAcknowledged`, with how long that took. */
async function recovery(): Promise<number> {
  const startedMs = performance.now()
  const since = books.acknowledged
  while (books.acknowledged < since + 1_000 || !sink.healthy) await sleep(5)
  return performance.now() - startedMs
}

async function report(
  what: string,
  recoveredMs: number,
  before: { acknowledged: number; begun: number },
): Promise<void> {
  const peak = { buffered: books.bufferedMax, rss: books.rssMaxMb }
  console.log(
    `${what.padEnd(28)} taken in meanwhile ${books.begun - before.begun} jobs, buffered at most ${peak.buffered} rows, ` +
      `resident at most ${Math.round(peak.rss)} MB; rows flow ${Math.round(recoveredMs)} ms after it ended`,
  )
  if (values.collect) {
    held = true
    while (books.acknowledged < books.begun) await sleep(5)
    collectGarbage()
  }
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
  const [resident, used, total, outside] = [rss, heapUsed, heapTotal, external].map((bytes) =>
    Math.round(bytes / 1e6),
  )
  console.log(
    `  now resident ${resident} MB: heap ${used} MB used of ${total} MB, ${outside} MB of buffers; ${sink.bufferedRows} rows buffered`,
  )
  held = false
  books.bufferedMax = 0
  books.rssMaxMb = 0
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

const intake = takeIn()
await recovery()
await sleep(5_000)
await report('no fault, 5 s', 0, { acknowledged: 0, begun: 0 })

for (let kill = 1; kill <= Number(values.kills); kill += 1) {
  const before = { ...books }
  // At another moment of the cycle of gathering and inserting each time.
  await sleep(1_000 + kill * 37)
  await server.kill()
  await server.restart()
  await report(`SIGKILL and restart, ${kill}`, await recovery(), before)
}

for (let stall = 1; stall <= Number(values.stalls); stall += 1) {
  const before = { ...books }
  await server.freeze()
  await sleep(Number(values['stall-s']) * 1_000)
  const atEnd = books.begun
  await server.thaw()
  await report(`a stall of ${values['stall-s']} s, ${stall}`, await recovery(), before)
  console.log(`  ${atEnd - before.begun} jobs taken in until it ended, ${JOBS_AT_ONCE} may wait`)
}

const disk = await statfs(tmpdir())
if (values['full-s'] === '0' || disk.bavail * disk.bsize > SMALL_DISK_BYTES) {
  console.log('a full disk                  left out, or its folder is on a large one')
} else {
  const before = { ...books }
  const ballast = join(tmpdir(), 'ballast')
  // A merge whose disk is filled up by somebody else may leave a part that cannot be read (26.7), and with it lose what it merged:
  // see full-disk.ts. That is between the engine and its disk; here it is about the writer.
  await execute(engine, 'SYSTEM STOP MERGES')
  await fillUp(ballast)
  const atFull = { ...books }
  // What the engine frees by merging is taken away, too.
  for (let second = 0; second < Number(values['full-s']); second += 1) {
    await sleep(1_000)
    await fillUp(ballast)
  }
  console.log(
    `  acknowledged while the disk was full: ${books.acknowledged - atFull.acknowledged} jobs; healthy: ${sink.healthy}`,
  )
  await rm(ballast)
  await execute(engine, 'SYSTEM START MERGES')
  await report(`a full disk for ${values['full-s']} s`, await recovery(), before)
}

stopping.abort()
await intake
await sink.stop()
await closeBooks()

async function closeBooks(): Promise<void> {
  const [stored] = await select<{ rows: number | string; distinct: number | string }>(
    engine,
    `SELECT count() AS rows, uniqExact(platform, metric, creator_id, ts, value) AS distinct FROM points FINAL`,
  )
  const [daily] = await select<{ n: number | string }>(
    engine,
    `SELECT count() AS n FROM (SELECT platform, metric, creator_id, toDate(ts) AS day, argMax(value, ts) AS value
      FROM points FINAL GROUP BY platform, metric, creator_id, day) AS p
    LEFT ANTI JOIN (SELECT * FROM points_daily FINAL) AS d USING (platform, metric, creator_id, day, value)`,
    {},
    { executionTimeS: 120 },
  )
  const [unmerged] = await select<{ n: number | string }>(engine, 'SELECT count() AS n FROM points')
  const expected = books.begun * JOB_ROWS
  console.log(
    `acknowledged ${books.acknowledged} of ${books.begun} jobs; rows expected ${expected}, stored ${stored?.rows}, distinct ${stored?.distinct}; ` +
      `days that the roll-up lacks ${daily?.n}; lying there twice ${Number(unmerged?.n) - Number(stored?.rows)}; ` +
      `limit of the buffer ${BATCHER_LIMITS.bufferRowsMax} rows; load ${loadavg()[0]!.toFixed(1)}`,
  )
  if (Number(stored?.rows) !== expected || Number(stored?.distinct) !== expected || Number(daily?.n) !== 0) {
    throw new Error('the books do not balance')
  }
}
