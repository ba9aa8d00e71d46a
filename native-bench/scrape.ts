/**
 * What a scrape costs with 50 platforms of 20 endpoints each, every series of the catalogue in use: bytes, wall time and CPU, of the text
 * alone and over HTTP in both formats. `node native-bench/scrape.ts [--platforms 50] [--endpoints 20] [--scrapes 200] [--json]`.
 * Under half a minute.
 *
 * `--load`: what scrapes cost a daemon's jobs: the pipeline at full speed, with scrapes and without, in turn. A minute and a half.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { AdminServer } from '../src/admin/server.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { sourceOf } from '../test/admin/source.ts'
import { cpuEach, inTurn, perSecond } from './engine/in-turn.ts'
import { ContestantProcess } from './engine/process.ts'
import { UpstreamProcess } from './engine/upstream-process.ts'
import { fillSeries } from './scrape/fill-series.ts'

const { values } = parseArgs({
  options: {
    platforms: { type: 'string', default: '50' },
    endpoints: { type: 'string', default: '20' },
    scrapes: { type: 'string', default: '200' },
    load: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})
const [platforms, endpoints, scrapes] = [values.platforms, values.endpoints, values.scrapes].map(Number)

const metrics = createMetrics({ defaults: true })
const series = fillSeries(metrics, { platforms: platforms!, endpoints: endpoints! })
const admin = new AdminServer(
  { host: '127.0.0.1', port: 0 },
  { source: sourceOf(), metrics, log: createLog({ level: 'silent', pretty: false, secrets: [] }) },
)
const { url } = await admin.start()
const results = [
  await measure('text alone', async () => (await metrics.registry.metrics()).length),
  await measure('over HTTP, plain', () => scrape('text/plain')),
  await measure('over HTTP, OpenMetrics', () => scrape('application/openmetrics-text;version=1.0.0')),
]
const report = { platforms, endpoints, series, node: process.version, results }
if (values.json) console.log(JSON.stringify(report))
else {
  console.log(
    `${platforms} platforms × ${endpoints} endpoints: ${series} series, medians of ${scrapes} scrapes`,
  )
  console.table(results)
}
if (values.load) await underLoad()
await admin.stop()

async function scrape(accept: string): Promise<number> {
  const reply = await fetch(`${url}/metrics`, { headers: { accept } })
  return (await reply.arrayBuffer()).byteLength
}

/** CPU is of the whole process, who asks included. */
async function measure(what: string, work: () => Promise<number>) {
  let bytes = 0
  const walls: number[] = []
  const cpus: number[] = []
  for (let turn = 0; turn < scrapes!; turn += 1) {
    const cpu = process.cpuUsage()
    const startMs = performance.now()
    bytes = await work()
    walls.push(performance.now() - startMs)
    const { user, system } = process.cpuUsage(cpu)
    cpus.push((user + system) / 1_000)
  }
  return { what, kB: Math.round(bytes / 1_000), wallMs: median(walls), cpuMs: median(cpus) }
}

/**
 * The pipeline of native-bench/engine.ts as fast as it goes, a thousand endpoints' series beside it, scraped in every other round
 * from outside its process; fifteen times as often as Prometheus would, so that it can be seen.
 */
async function underLoad(): Promise<void> {
  const ROUND_MS = 4_000
  const ROUNDS = 8
  const EVERY_MS = 1_000
  await using upstream = await UpstreamProcess.start()
  const extras = { series: { platforms: platforms!, endpoints: endpoints! } }
  const daemon = await ContestantProcess.start({
    ...{ name: 'daemon, scraped', origin: upstream.origin, sockets: 256, extras },
  })
  let scrapesDone = 0
  const round = async (durationMs: number, isScraped: boolean) => {
    const over = new AbortController()
    const scraping = isScraped ? scrapeEvery(daemon.url, EVERY_MS, over.signal) : Promise.resolve(0)
    const figures = await daemon.round({ durationMs, concurrency: 256 }).finally(() => over.abort())
    scrapesDone += await scraping
    return figures
  }
  await round(3_000, true)
  scrapesDone = 0
  const done = await inTurn(['scraped', 'left alone'], ROUNDS, (what) => round(ROUND_MS, what === 'scraped'))
  await daemon.stop()
  const [scraped, alone] = [done.get('scraped')!, done.get('left alone')!]
  const extraMs = scraped.map((one, turn) => (one.cpuMicros - one.requests * cpuEach(alone[turn]!)) / 1_000)
  console.log(`\nunder full load: ${scrapesDone} scrapes in ${ROUNDS} rounds of ${ROUND_MS} ms, medians`)
  console.table([
    ...[...done].map(([rounds, each]) => ({
      rounds,
      'jobs/s': Math.round(median(each.map(perSecond))),
      'CPU a job, µs': median(each.map(cpuEach)),
    })),
  ])
  const ratio = median(scraped.map((one, turn) => perSecond(one) / perSecond(alone[turn]!)))
  const each = median(extraMs) / (scrapesDone / ROUNDS)
  console.log(
    `jobs/s, scraped each second, against left alone: ${ratio}; CPU of the daemon for a scrape: ${each.toFixed(0)} ms, ` +
      `every 15 s: ${(each / 150).toFixed(2)}% of a core`,
  )
}

/** Resolves with how many scrapes there were. */
async function scrapeEvery(address: string, everyMs: number, signal: AbortSignal): Promise<number> {
  let count = 0
  while (!signal.aborted) {
    const reply = await fetch(`${address}/metrics`, {
      headers: { accept: 'application/openmetrics-text;version=1.0.0' },
    })
    await reply.arrayBuffer()
    count += 1
    await sleep(everyMs, undefined, { signal }).catch(() => {})
  }
  return count
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return Number((sorted[Math.floor(sorted.length / 2)] ?? Number.NaN).toFixed(2))
}
