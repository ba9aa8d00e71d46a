/**
 * What a scrape costs with 50 platforms of 20 endpoints each, every series of the catalogue in use: bytes, wall time and CPU, of the text
 * alone and over HTTP in both formats. `node native-bench/scrape.ts [--platforms 50] [--endpoints 20] [--scrapes 200] [--json]`.
 * Under half a minute.
 *
 * `--load`: how much later a timer of 1 ms fires while the daemon's loop is scraped once a second, against without: alternating
 * rounds in one process.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { AdminServer } from '../src/admin/server.ts'
import { CATALOGUE, type MetricDefinition } from '../src/telemetry/catalogue.ts'
import { Counter, Gauge, Histogram } from '../src/telemetry/instruments.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics, METRIC_PREFIX, type Metrics } from '../src/telemetry/metrics.ts'
import { sourceOf } from '../test/admin/source.ts'

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
const series = fill(metrics)
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

/** A loop that is busy half of the time, as at full load; scraped twice as often as usual, every other round. */
async function underLoad(): Promise<void> {
  const ROUND_MS = 3_000
  const late: Record<'scraped' | 'left alone', number[]> = { scraped: [], 'left alone': [] }
  for (let round = 0; round < 10; round += 1) {
    const isScraped = round % 2 === 0
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const endMs = performance.now() + ROUND_MS
    const scraping = isScraped
      ? (async () => {
          while (performance.now() < endMs) {
            await scrape('application/openmetrics-text;version=1.0.0')
            await sleep(1_000)
          }
        })()
      : undefined
    while (performance.now() < endMs) {
      const busyUntil = performance.now() + 1
      while (performance.now() < busyUntil);
      await sleep(1)
    }
    await scraping
    delay.disable()
    late[isScraped ? 'scraped' : 'left alone'].push(delay.percentile(99) / 1e6)
  }
  console.table(
    Object.entries(late).map(([rounds, each]) => ({ rounds, 'p99 of the loop, ms': median(each) })),
  )
}

/** Every metric with every combination of its labels that a daemon of this size could have; returns how many lines that makes. */
function fill(into: Metrics): number {
  const names = (what: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${what}_${index}`)
  const many: Record<string, readonly string[]> = {
    platform: names('platform', platforms!),
    endpoint: names('endpoint', endpoints!),
    level: [
      ...names('platform:platform', platforms!),
      ...names('endpoint:platform', platforms! * endpoints!),
    ],
    status: ['2xx', '4xx'],
    reason: ['timeout', 'not_found', 'upstream_error', 'rate_limited'],
    job_type: ['profile', 'media'],
    outcome: ['done', 'dead'],
    partition: names('', 12),
  }
  // Which level holds a call back is one of a few, not any.
  const few = { ...many, level: ['global', 'platform:x'] }
  let lines = 0
  for (const [name, { type, labels, buckets = [] }] of Object.entries(CATALOGUE) as [
    string,
    MetricDefinition,
  ][]) {
    const instrument = into.registry.getSingleMetric(METRIC_PREFIX + name)
    const isOfEndpoint = labels.includes('endpoint') && labels.includes('level')
    for (const combination of combine(labels, isOfEndpoint ? few : many)) {
      lines += type === 'histogram' ? buckets.length + 3 : 1
      if (instrument instanceof Counter) instrument.inc(combination, 12_345)
      else if (instrument instanceof Gauge) instrument.set(combination, 0.123_45)
      else if (instrument instanceof Histogram) instrument.observe(combination, 0.123_45)
    }
  }
  return lines
}

function combine(
  labels: readonly string[],
  of: Readonly<Record<string, readonly string[]>>,
): Record<string, string>[] {
  let all: Record<string, string>[] = [{}]
  for (const label of labels) {
    all = all.flatMap((one) => (of[label] ?? ['only']).map((value) => ({ ...one, [label]: value })))
  }
  return all
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return Number((sorted[Math.floor(sorted.length / 2)] ?? Number.NaN).toFixed(2))
}
