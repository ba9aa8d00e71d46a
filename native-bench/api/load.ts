/**
 * `millrace api`, a process of its own over real Kafka, Redis and ClickHouse, under thousands of virtual users who think between their
 * questions, while scrapes come in and make answers stale. The users are a process, too, and its share of the machine is printed.
 *
 *   node native-bench/api/load.ts [--users 10000] [--seconds 60] [--rows 10000000] [--scrapes-per-s 20]
 *     [--url http://127.0.0.1:8123 --database filled --pid 123]
 *
 * Of 100 questions 40 are for the dashboard, 20 for movers (24 lists), 15 for the first page of a list (30 of them), 25 for one of
 * the thousand most followed creators. `--url`: a database that `reads.ts` or `api.ts` has filled; `--pid` is its server's, for its CPU time.
 */
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { ConfigInput } from '../../src/config/schema.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { select } from '../../src/timeseries/engine.ts'
import { migrate } from '../../src/timeseries/migrate.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { Millrace } from '../../test/daemon/process.ts'
import { startClickhouse } from '../../test/services/clickhouse.ts'
import { startKafka } from '../../test/services/kafka.ts'
import { startRedis } from '../../test/services/redis.ts'
import { datasetOf, fillFacts, fillPoints } from '../reads/dataset.ts'
import { cpuMsOf } from '../reads/server-cpu.ts'
import type { Visit, Visited } from './users.ts'

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '60' },
    rows: { type: 'string', default: '10000000' },
    'scrapes-per-s': { type: 'string', default: '20' },
    url: { type: 'string' },
    database: { type: 'string', default: 'reads' },
    pid: { type: 'string' },
  },
})
const [users, seconds, scrapesPerS] = [values.users, values.seconds, values['scrapes-per-s']].map(Number)
const ARRIVE_MS = 30_000
const POPULAR = 1_000

await using started = new AsyncDisposableStack()
const run = `load-${randomUUID().slice(0, 8)}`
const server = values.url === undefined ? started.use(await startClickhouse()) : undefined
const [kafka, redis] = await Promise.all([startKafka(), startRedis()])
started.use(kafka)
started.use(redis)
const clickhouse = values.url ?? server!.address
const engine = new ClickHouseEngine({ url: clickhouse, database: values.database })
started.defer(() => engine.close())
await engine.open()
await migrate(engine)
const [there] = await select<{ n: number | string }>(engine, 'SELECT count() AS n FROM points')
if (Number(there?.n) === 0) {
  await fillPoints(engine, datasetOf(Number(values.rows)))
  await fillFacts(engine, datasetOf(Number(values.rows)))
}
await refreshViews(engine)
const popular = await select<{ platform: string; creator_id: string }>(
  engine,
  `SELECT platform, creator_id FROM creators FINAL ORDER BY followers DESC, platform, creator_id LIMIT ${POPULAR}`,
)

// Scrapes go round everybody, as a fleet's do, so few of them are of those that are looked at.
const scraped = await select<{ platform: string; creator_id: string }>(
  engine,
  'SELECT platform, creator_id FROM creators FINAL ORDER BY cityHash64(creator_id) LIMIT 10000',
)

const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
started.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
const results = `${run}.results`
const configuration: ConfigInput = {
  data: folder,
  kafka: {
    ...{ brokers: [kafka.address], group: run, topics: [`${run}.jobs`], results_topic: results },
    ...{ create_topics: true, partitions: 6 },
  },
  redis: { url: redis.address, key_prefix: run },
  clickhouse: { url: clickhouse, database: values.database },
  // Everybody comes from one address, so they are one client.
  api: { port: 0, metrics_port: 0, rate: { requests: 1_000_000, window: '10s' }, queries_max: 1000 },
  log: { level: 'info' },
}
const file = join(folder, 'millrace.yaml')
await writeFile(file, JSON.stringify(configuration))
// As in a container of 512 MB: Node allows itself half of it.
const api = new Millrace(['api', '--config', file], {
  env: { MALLOC_ARENA_MAX: '2', NODE_OPTIONS: '--max-old-space-size=256' },
})
started.defer(async () => void (await api.stop()))
const [, origin = ''] = await api.says(/"url":"(http:[^"]+)".*the analytics API listens/)

const scrapes = publishing()
started.defer(() => scrapes.stop())
await scrapes.begun
const processes = {
  'millrace api': api.child.pid,
  ClickHouse: values.pid === undefined ? server?.pid : Number(values.pid),
  Redis: redis.pid,
  Kafka: kafka.pid,
}
const visiting = fork(fileURLToPath(new URL('users.ts', import.meta.url)))
const visit: Visit = {
  ...{ origin, users: users!, arriveMs: ARRIVE_MS, seconds: seconds!, thinkMs: [1000, 3000] },
  paths: [
    { share: 0.4, of: ['/v1/dashboard'] },
    { share: 0.2, of: [...movers()] },
    { share: 0.15, of: [...lists()] },
    {
      share: 0.25,
      of: popular.map((one) => `/v1/creators/${one.platform}/${encodeURIComponent(one.creator_id)}`),
    },
  ],
}
console.log(
  `${users} users for ${seconds} s, ${scrapesPerS} scrapes/s; ${cpus().length} × ${cpus()[0]?.model}, load ${loadavg()[0]!.toFixed(1)}`,
)
const atRest = await residentMegabytes('VmRSS')
// As after some minutes of service: otherwise the first minute is a thousand queries.
const everything = visit.paths.flatMap(({ of }) => of)
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (let path = everything.pop(); path !== undefined; path = everything.pop())
      await (await fetch(origin + path)).arrayBuffer()
  }),
)
visiting.send(visit)
await sleep(ARRIVE_MS + visit.thinkMs[1])
const before = await cpuOfAll()
const visited = once(visiting, 'message') as Promise<[Visited]>
await sleep(seconds! * 1000)
const after = await cpuOfAll()
const [it] = await visited

const ms = (figure: number) => `${figure.toFixed(1)} ms`
console.log(`answers   ${(it.answers / seconds!).toFixed(0)} a second, ${it.megabytes.toFixed(0)} MB`)
console.log(`kept      ${JSON.stringify(it.states)}`)
console.log(`errors    ${JSON.stringify(it.errors)}`)
console.log(
  `time      mean ${ms(it.meanMs)}, p50 ${ms(it.p50Ms)}, p95 ${ms(it.p95Ms)}, p99 ${ms(it.p99Ms)}, max ${ms(it.maxMs)}`,
)
console.log(
  `          of it the users' own loop was late by ${ms(it.loopMeanMs)} on average, p99 ${ms(it.loopP99Ms)}`,
)
const cores = Object.entries(after).map(
  ([name, cpuMs]) => `${name} ${((cpuMs - before[name]!) / seconds! / 1000).toFixed(2)}`,
)
console.log(`cores     users ${it.cpu.toFixed(2)}, ${cores.join(', ')}`)
console.log(
  `memory    millrace api ${atRest} MB resident before, ${await residentMegabytes('VmRSS')} MB after, ${await residentMegabytes('VmHWM')} MB at most`,
)
console.log(`load ${loadavg()[0]!.toFixed(1)}`)

async function cpuOfAll(): Promise<Record<string, number>> {
  const known = Object.entries(processes).filter(([, pid]) => pid !== undefined)
  return Object.fromEntries(await Promise.all(known.map(async ([name, pid]) => [name, await cpuMsOf(pid!)])))
}

async function residentMegabytes(field: 'VmRSS' | 'VmHWM'): Promise<string> {
  const status = await readFile(`/proc/${api.child.pid}/status`, 'utf8')
  const [, kilobytes = '0'] = new RegExp(`${field}:\\s+(\\d+) kB`).exec(status) ?? []
  return (Number(kilobytes) / 1024).toFixed(0)
}

function* movers(): Generator<string> {
  for (const by of ['absolute', 'relative']) {
    for (const platform of ['', '&platform=instagram', '&platform=youtube', '&platform=tiktok'])
      for (const limit of [20, 50, 100]) yield `/v1/trending?by=${by}&limit=${limit}${platform}`
  }
}

function* lists(): Generator<string> {
  for (const sort of ['-followers', '-engagement_rate']) {
    for (const platform of ['instagram', 'youtube', 'tiktok'])
      for (const least of [0, 1e3, 1e4, 1e5, 1e6])
        yield `/v1/creators?platform=${platform}&sort=${sort}&followers_min=${least}`
  }
}

/** Results on the results topic, as a fleet of daemons would publish them. */
function publishing(): { readonly begun: Promise<void>; stop(): Promise<void> } {
  const log = createLog({ level: 'error', pretty: false, secrets: [] })
  const producer = createKafkaClient({ brokers: [kafka.address], clientId: run }, log).producer()
  let timer: NodeJS.Timeout | undefined
  let n = 0
  const publish = () => {
    const messages = Array.from({ length: scrapesPerS! }, () => {
      const { platform, creator_id } = scraped[n % scraped.length]!
      const at = new Date().toISOString()
      const result: ResultMessage = {
        ...{ job_id: `${run}-${n++}`, platform, creator_id, job_type: 'full_profile_scrape', status: 'done' },
        ...{ reason: null, message: null, replayed: false, attempts: 1, rows: 5, pictures: [] },
        ...{ pictures_rejected: [], data: {}, started_at: at, finished_at: at },
      }
      return { key: `${platform}:${creator_id}`, value: JSON.stringify(result) }
    })
    void producer.send({ topic: results, messages }).catch((error: unknown) => console.error(error))
  }
  return {
    begun: producer.connect().then(() => {
      if (scrapesPerS! > 0) timer = setInterval(publish, 1000)
    }),
    async stop() {
      clearInterval(timer)
      await producer.disconnect()
    },
  }
}
