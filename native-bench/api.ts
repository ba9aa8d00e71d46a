/**
 * How long the API's answers take over many rows: made for this request, and kept. The dataset is the one of `reads.ts`.
 *
 *   node native-bench/api.ts [--rows 10000000] [--rounds 21] [--serve] [--url http://127.0.0.1:8123 --database filled]
 *
 * "made" is asked of an API whose shelf is too small for anything, so that every request is a query; the database keeps its own caches
 * of blocks, as it does in service. `--serve` only fills in and serves, until Ctrl-C: for curl, a browser, or a fuzzer
 * (`schemathesis run <address>/openapi.json`). 50 million rows take a quarter of an hour to fill in; with `--url` and a database that
 * `reads.ts` or this has filled, they are there already.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { configSchema } from '../src/config/schema.ts'
import { type Api, openApi } from '../src/parts/api.ts'
import { topicsOf } from '../src/parts/topics.ts'
import { BUILT_IN } from '../src/platforms/registry.ts'
import { FilePublisher } from '../src/publish/file-publisher.ts'
import { FolderStore } from '../src/store/folder.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { select } from '../src/timeseries/engine.ts'
import { migrate } from '../src/timeseries/migrate.ts'
import { refreshViews } from '../src/timeseries/queries.ts'
import { startClickhouse } from '../test/services/clickhouse.ts'
import { CREATOR, datasetOf, fillFacts, fillPoints } from './reads/dataset.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    rounds: { type: 'string', default: '21' },
    serve: { type: 'boolean', default: false },
    url: { type: 'string' },
    database: { type: 'string', default: 'reads' },
  },
})
const dataset = datasetOf(Number(values.rows))
const rounds = Number(values.rounds)
/** Rows of a page whose 10,000th is asked for: as many pages as the dataset has of them. */
const PAGE_ROWS = 10
/** The largest that a list gives out. */
const LIMIT_MAX = 200

await using started = new AsyncDisposableStack()
const server = values.url === undefined ? started.use(await startClickhouse()) : undefined
const engine = new ClickHouseEngine({ url: values.url ?? server!.address, database: values.database })
started.defer(() => engine.close())
await engine.open()
await migrate(engine)
const [there] = await select<{ n: number | string }>(engine, 'SELECT count() AS n FROM points')
if (Number(there?.n) === 0) {
  await fillPoints(engine, dataset)
  await fillFacts(engine, dataset)
}
await refreshViews(engine)
const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
started.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))

const keeping = await serve({})
console.log(
  `${dataset.creators.toLocaleString('en')} creators at ${keeping.url}; ${cpus().length} × ${cpus()[0]?.model}, load ${loadavg()[0]!.toFixed(1)}`,
)
if (values.serve) {
  await new Promise((done) => process.once('SIGINT', done))
} else {
  const making = await serve({ bytes_max: 1024 })
  await measureAll(keeping.url!, making.url!)
}

async function serve(cache: { bytes_max?: number }): Promise<Api> {
  const config = configSchema.parse({
    data: folder,
    api: { port: 0, rate: { requests: 1_000_000 }, queries_max: 100, cache: { ...cache, ttl: '1h' } },
  })
  const platforms = [...BUILT_IN.values()]
  const log = createLog({ level: 'error', pretty: false, secrets: [] })
  const topics = topicsOf(config, [...BUILT_IN.keys()])
  const publisher = new FilePublisher({ folder, plainTopics: [] }, log)
  const store = new FolderStore({ folder: join(folder, 'store') })
  const api = openApi(config, { engine, store, publisher, topics, platforms, metrics: createMetrics(), log })
  started.defer(() => api.stop())
  await api.start()
  return api
}

async function measureAll(kept: string, made: string): Promise<void> {
  const whom = await select<{ platform: string; creator_id: string }>(
    engine,
    `SELECT ${CREATOR} FROM (SELECT cityHash64(number) % ${dataset.creators} AS n FROM numbers(${2 * rounds}))`,
  )
  let turn = 0
  const creator = () => {
    const { platform, creator_id } = whom[turn++ % whom.length]!
    return `/v1/creators/${platform}/${encodeURIComponent(creator_id)}`
  }
  const measure = async (what: string, ask: () => Promise<unknown>) => {
    const times: number[] = []
    for (let n = 0; n <= rounds; n++) {
      const startedMs = performance.now()
      await ask()
      times.push(performance.now() - startedMs)
    }
    // The first one prepares: connections, code.
    const sorted = times.slice(1).sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(1).padStart(7)
    console.log(`  ${what.padEnd(42)} p50 ${at(0.5)} ms   p95 ${at(0.95)} ms`)
  }
  console.log('made')
  await measure('dashboard', () => get(made, '/v1/dashboard'))
  await measure('a creator', () => get(kept, creator()))
  await measure("a creator's history of 30 days", () => get(kept, `${creator()}/history?metric=followers`))
  await measure('trending, 7 days', () => get(made, '/v1/trending?limit=100'))
  await measure('trending, 90 days of one platform', () =>
    get(made, '/v1/trending?window=90d&platform=tiktok&limit=100'),
  )
  await measure('creators by a text in the biography', () =>
    get(made, `/v1/creators?limit=200&q=number%20${turn++}`),
  )
  const list = `/v1/creators?limit=${PAGE_ROWS}`
  const last = await cursorAt(made, dataset.creators - PAGE_ROWS)
  await measure('creators, page 1', () => get(made, list))
  await measure(`creators, page ${(dataset.creators / PAGE_ROWS).toLocaleString('en')}`, () =>
    get(made, `${list}&cursor=${last}`),
  )
  console.log('kept')
  await measure('dashboard', () => get(kept, '/v1/dashboard'))
  await measure('creators, page 1', () => get(kept, list))
  console.log(`load ${loadavg()[0]!.toFixed(1)}`)
}

async function get(base: string, path: string): Promise<{ readonly next_cursor?: string | null }> {
  const reply = await fetch(base + path)
  const body = await reply.text()
  if (reply.status !== 200) throw new Error(`${path}: ${reply.status} ${body}`)
  return JSON.parse(body) as { next_cursor?: string | null }
}

/** Turns pages as a client does, in large steps, until so many rows are behind. */
async function cursorAt(base: string, rows: number): Promise<string> {
  let cursor = ''
  for (let behind = 0; behind < rows; behind += LIMIT_MAX) {
    const limit = Math.min(LIMIT_MAX, rows - behind)
    const page = await get(base, `/v1/creators?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`)
    if (typeof page.next_cursor !== 'string') throw new Error(`the list ends after ${behind} rows`)
    cursor = page.next_cursor
  }
  return cursor
}
