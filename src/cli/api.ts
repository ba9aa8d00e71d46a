import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import { openApi } from '../parts/api.ts'
import { platformsOf } from '../parts/platforms.ts'
import { openPublisher } from '../parts/publisher.ts'
import { openStore } from '../parts/store.ts'
import { openEngine } from '../parts/timeseries.ts'
import { topicsOf } from '../parts/topics.ts'
import { createLog } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { migrate } from '../timeseries/migrate.ts'
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
  const metrics = createMetrics({ defaults: true })
  const server = openApi(config, { engine, store, publisher, topics, platforms, metrics, log })
  stack.defer(() => server.stop())
  await server.start()
  await new Promise<void>((stopped) => {
    terminal.stopping.addEventListener('abort', () => stopped(), { once: true })
    if (terminal.stopping.aborted) stopped()
  })
  log.info('stopping: letting requests end')
  return EXIT.done
}
