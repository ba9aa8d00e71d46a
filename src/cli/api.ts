import { MetricsServer } from '../admin/metrics-server.ts'
import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import { openApi } from '../parts/api.ts'
import { platformsOf } from '../parts/platforms.ts'
import { openPublisher } from '../parts/publisher.ts'
import { openStore } from '../parts/store.ts'
import { openEngine } from '../parts/timeseries.ts'
import { topicsOf } from '../parts/topics.ts'
import { EventLoopMonitor } from '../telemetry/event-loop.ts'
import { createLog } from '../telemetry/log.ts'
import { API_METRICS, createMetrics } from '../telemetry/metrics.ts'
import { recordProcessFacts } from '../telemetry/process-facts.ts'
import { migrate } from '../timeseries/migrate.ts'
import { version } from '../version.ts'
import { EXIT } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** `millrace api`: the analytics API in a process of its own, until told to stop. */
export async function api(config: Config, terminal: Terminal): Promise<number> {
  if (config.clickhouse === undefined || config.kafka === undefined) {
    throw new MillraceError(
      'USAGE',
      'api: expected `clickhouse` and `kafka` in the configuration; with embedded parts the daemon serves the API itself: set api.enabled',
      { kind: 'usage' },
    )
  }
  const log = createLog({
    level: config.log.level,
    pretty: config.log.pretty ?? terminal.stderr.isTTY === true,
    secrets: terminal.secrets,
  })
  await using stack = new AsyncDisposableStack()
  const metrics = createMetrics({ defaults: true, only: API_METRICS })
  recordProcessFacts(metrics, version)
  if (config.admin.enabled) {
    const loop = new EventLoopMonitor({ metrics })
    stack.defer(() => loop.stop())
    loop.start()
    const page = new MetricsServer(
      { host: config.admin.host, port: config.api.metrics_port, setting: 'api.metrics_port' },
      { metrics, log, beforeScrape: [() => loop.record()] },
    )
    stack.defer(() => page.stop())
    log.info({ url: await page.start() }, 'metrics of the analytics API')
  }
  const engine = stack.adopt(openEngine(config), (one) => one.close())
  await engine.open()
  await migrate(engine)
  const store = stack.adopt(await openStore(config), (one) => one.stop())
  const platforms = (await platformsOf(config, process.cwd())).map(({ platform }) => platform)
  const topics = topicsOf(
    config,
    platforms.map(({ name }) => name),
  )
  const publisher = stack.adopt(await openPublisher(config, topics, log), (one) => one.stop())
  await publisher.start()
  const server = openApi(config, {
    ...{ engine, store, publisher, topics, platforms, metrics, log },
    stopGraceMs: config.drain_deadline,
  })
  stack.defer(() => server.stop())
  await server.start()
  await new Promise<void>((stopped) => {
    terminal.stopping.addEventListener('abort', () => stopped(), { once: true })
    if (terminal.stopping.aborted) stopped()
  })
  log.info({ within_ms: config.drain_deadline }, 'stopping: letting requests end')
  return EXIT.done
}
