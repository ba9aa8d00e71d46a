import { fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
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
import { startClickhouse } from '../test/services/clickhouse.ts'

// What an export costs the process of the API: memory and CPU, for clients that read as fast as they can and for slow ones.
//
//   node native-bench/export.ts [rows in points, default 5,000,000] [MB a second of the slow client, default 20]

const DATABASE = 'bench_export'
const LOOK_MS = 25

/** What the process of the API says of itself. */
interface Usage {
  readonly rssBytes: number
  readonly cpuMs: number
}

if (process.argv[2] === '--serve') await serve(process.argv[3] ?? '')
else await measure(Number(process.argv[2] ?? 5_000_000), Number(process.argv[3] ?? 20))

/** The API alone in this process; its figures go to the parent. */
async function serve(clickhouse: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  process.once('disconnect', () => void rm(folder, { recursive: true }).finally(() => process.exit()))
  const engine = new ClickHouseEngine({ url: clickhouse, database: DATABASE })
  await engine.open()
  const config = configSchema.parse({ data: folder, api: { port: 0, rate: { requests: 1_000_000 } } })
  const log = createLog({ level: 'error', pretty: false, secrets: [] })
  const api = openApi(config, {
    ...{ engine, log, platforms: [...BUILT_IN.values()], metrics: createMetrics() },
    store: new FolderStore({ folder: join(folder, 'store') }),
    publisher: new FilePublisher({ folder, plainTopics: [] }, log),
    topics: topicsOf(config, [...BUILT_IN.keys()]),
  })
  await api.start()
  process.send?.({ url: api.url })
  setInterval(() => {
    if (!process.connected) return
    const { user, system } = process.cpuUsage()
    process.send?.({ rssBytes: process.memoryUsage.rss(), cpuMs: (user + system) / 1_000 } satisfies Usage)
  }, LOOK_MS)
}

async function measure(rows: number, slowMbS: number): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const server = await startClickhouse()
  stack.defer(() => server.stop())
  const engine = new ClickHouseEngine({ url: server.address, database: DATABASE })
  stack.defer(() => engine.close())
  await engine.open()
  await migrate(engine)
  await execute(
    engine,
    `INSERT INTO points (ts, platform, metric, creator_id, value, job_id, observed_at)
     SELECT toDateTime64(toStartOfDay(now('UTC')), 3, 'UTC') - INTERVAL number % 30 DAY AS ts, 'instagram', 'followers',
       concat('creator', toString(intDiv(number, 30))), cityHash64(number) % 1000000, '', ts
     FROM numbers(${rows})`,
  )

  const child = fork(fileURLToPath(import.meta.url), ['--serve', server.address])
  stack.defer(() => void child.disconnect())
  let now: Usage = { rssBytes: 0, cpuMs: 0 }
  let peakBytes = 0
  const url = await new Promise<string>((told) => {
    child.on('message', (message: Usage | { url: string }) => {
      if ('url' in message) return told(message.url)
      now = message
      peakBytes = Math.max(peakBytes, message.rssBytes)
    })
  })

  /** Reads an export to its end; resolves with its bytes. */
  const read = async (query: string, bytesASecond: number): Promise<number> => {
    const reply = await fetch(`${url}/v1/export?what=points&${query}`, {
      headers: { 'accept-encoding': 'identity' },
    })
    if (!reply.ok) throw new Error(`${query}: ${reply.status} ${await reply.text()}`)
    const sinceMs = performance.now()
    let bytes = 0
    for await (const chunk of reply.body!) {
      bytes += chunk.length
      const aheadMs = (bytes / bytesASecond) * 1_000 - (performance.now() - sinceMs)
      if (aheadMs > 10) await sleep(aheadMs)
    }
    return bytes
  }
  const mb = (bytes: number) => (bytes / 1e6).toFixed(0)
  await read('format=csv&creator_id=creator1&platform=instagram', Number.POSITIVE_INFINITY)
  await sleep(4 * LOOK_MS)
  console.log(`${rows.toLocaleString('en')} rows; RSS of the API before: ${mb(now.rssBytes)} MB`)
  for (const [name, format, pace] of [
    ['a fast client', 'ndjson', Number.POSITIVE_INFINITY],
    ['a fast client', 'csv', Number.POSITIVE_INFINITY],
    ['a fast client', 'parquet', Number.POSITIVE_INFINITY],
    [`a client of ${slowMbS} MB/s`, 'ndjson', slowMbS * 1e6],
    [`a client of ${slowMbS} MB/s`, 'csv', slowMbS * 1e6],
  ] as const) {
    peakBytes = 0
    const { cpuMs } = now
    const sinceMs = performance.now()
    const bytes = await read(`format=${format}`, pace)
    const seconds = (performance.now() - sinceMs) / 1_000
    await sleep(4 * LOOK_MS)
    console.log(
      `${format.padEnd(8)} ${name.padEnd(22)} ${mb(bytes).padStart(5)} MB in ${seconds.toFixed(1).padStart(5)} s   ` +
        `RSS at most ${mb(peakBytes).padStart(4)} MB   CPU of the API ${((now.cpuMs - cpuMs) / (bytes / 1e6)).toFixed(2)} ms/MB`,
    )
  }
}
