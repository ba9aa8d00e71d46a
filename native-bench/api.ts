import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configSchema } from '../src/config/schema.ts'
import { openApi } from '../src/parts/api.ts'
import { topicsOf } from '../src/parts/topics.ts'
import { BUILT_IN } from '../src/platforms/registry.ts'
import { FilePublisher } from '../src/publish/file-publisher.ts'
import { FolderStore } from '../src/store/folder.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { execute } from '../src/timeseries/engine.ts'
import { migrate } from '../src/timeseries/migrate.ts'
import { refreshViews } from '../src/timeseries/queries.ts'
import { startClickhouse } from '../test/services/clickhouse.ts'

// How long the API's answers take over many rows: made for this request (cold), and kept.
//
//   node native-bench/api.ts [rows in points, default 10,000,000] [--serve]
//
// With --serve it only fills the tables and serves them until Ctrl-C: for curl, a browser, or a fuzzer:
//   schemathesis run <address>/openapi.json --max-examples 100

const METRICS = 5
const DAYS = 30
const ROUNDS = 21

const rows = Number(process.argv[2] ?? 10_000_000)
const creators = Math.max(100, Math.floor(rows / METRICS / DAYS))
const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
await using stack = new AsyncDisposableStack()
stack.defer(() => rm(folder, { recursive: true, force: true }))
const server = await startClickhouse()
stack.defer(() => server.stop())
const engine = new ClickHouseEngine({
  url: server.address,
  database: `bench_${randomUUID().replaceAll('-', '')}`,
})
stack.defer(() => engine.close())
await engine.open()
await migrate(engine)

const who =
  "['instagram', 'youtube', 'tiktok'][n % 3 + 1] AS platform, concat('creator', toString(n)) AS creator_id"
const metric = "['followers', 'following', 'posts', 'likes', 'engagement_rate'][m + 1] AS metric"
for (let day = 0; day < DAYS; day++) {
  await execute(
    engine,
    `INSERT INTO points (ts, platform, metric, creator_id, value, job_id, observed_at)
     SELECT toDateTime64(toStartOfDay(now('UTC')), 3, 'UTC') - INTERVAL ${day} DAY AS ts, ${who}, ${metric},
       if(m = 4, cityHash64(n) % 1000 / 10000, cityHash64(n) % 1000000 + ${DAYS - day} * (toInt64(cityHash64(n, 1) % 100) - 40)), '', ts
     FROM (SELECT number % ${creators} AS n, intDiv(number, ${creators}) AS m FROM numbers(${creators * METRICS}))`,
  )
}
await execute(
  engine,
  `INSERT INTO creators (platform, creator_id, name, handle, biography, verified, gone, flags, email, picture_url, followers, ts, job_id, observed_at)
   SELECT ${who}, concat('Name ', toString(n)), concat('creator', toString(n)), repeat('A biography. ', 8), n % 50 = 0, n % 100 = 99, [], '', '',
     cityHash64(n) % 1000000, toDateTime64(toStartOfDay(now('UTC')), 3, 'UTC') AS ts, '', ts
   FROM (SELECT number AS n FROM numbers(${creators}))`,
)
await refreshViews(engine)

const config = configSchema.parse({
  data: folder,
  api: { port: 0, rate: { requests: 1_000_000 }, queries_max: 100, cache: { refresh: '10ms' } },
})
const platforms = [...BUILT_IN.values()]
const log = createLog({ level: 'error', pretty: false, secrets: [] })
const topics = topicsOf(config, [...BUILT_IN.keys()])
const publisher = new FilePublisher({ folder, plainTopics: [] }, log)
const store = new FolderStore({ folder: join(folder, 'store') })
const api = openApi(config, { engine, store, publisher, topics, platforms, metrics: createMetrics(), log })
stack.defer(() => api.stop())
await api.start()
console.log(`${rows.toLocaleString('en')} rows of ${creators.toLocaleString('en')} creators at ${api.url}`)

if (process.argv.includes('--serve')) {
  await new Promise((done) => process.once('SIGINT', done))
} else {
  let fresh = 0
  const took = async (path: string): Promise<number> => {
    const startedMs = performance.now()
    const reply = await fetch(api.url + path)
    const body = await reply.text()
    if (reply.status !== 200) throw new Error(`${path}: ${reply.status} ${body}`)
    return performance.now() - startedMs
  }
  const measured = async (name: string, path: () => string) => {
    const times: number[] = []
    for (let n = 0; n < ROUNDS; n++) times.push(await took(path()))
    times.sort((a, b) => a - b)
    const at = (share: number) => times[Math.floor(share * (times.length - 1))]!.toFixed(1)
    console.log(`${name.padEnd(40)} p50 ${at(0.5).padStart(7)} ms   p95 ${at(0.95).padStart(7)} ms`)
  }
  await measured('trending of 7 days, cold', () => `/v1/trending?followers_min=${fresh++}`)
  // Past its time at once (refresh), so each is made anew while the one before is given out.
  await measured('dashboard, kept', () => '/v1/dashboard')
  await measured('a creator, cold', () => `/v1/creators/instagram/creator${3 * fresh++}`)
  await measured('a history, cold', () => `/v1/creators/instagram/creator${3 * fresh++}/history`)
  await measured('creators, page 1, cold', () => `/v1/creators?followers_min=${fresh++ / 1000}`)
}
