import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { containerPlan, hasImage } from './docker.ts'
import { type Found, ServiceMissing } from './found.ts'
import { type Running, startService } from './running.ts'

const IMAGE = 'clickhouse/clickhouse-server:26.7'
/** The engine of npm's chdb, serving HTTP. */
export const SERVER_FILE = fileURLToPath(new URL('clickhouse-server.ts', import.meta.url))

export interface ClickhouseOptions {
  /** More arguments of the engine, such as `--max_server_memory_usage=…`. Ignored by docker. */
  readonly args?: readonly string[]
}

/**
 * ClickHouse: docker, or the engine that npm's chdb holds. An installed clickhouse-server is not looked for: the package is
 * always there, and Debian's own server (18.16) is too old for our tables.
 */
export async function findClickhouse(): Promise<Found> {
  if (await hasImage(IMAGE)) return { how: 'docker', version: '26.7', at: IMAGE }
  const require = createRequire(import.meta.url)
  try {
    // Throws where npm has no engine for this machine.
    const at = require.resolve('chdb/libchdb')
    require.resolve('ffi-rs')
    const { libchdbPath } = (await import('chdb/libchdb')) as { libchdbPath: () => string }
    libchdbPath()
    return { how: 'installed', version: '?', at: dirname(at) }
  } catch (error) {
    throw new ServiceMissing(
      'clickhouse',
      `no docker engine answers and npm has no engine for ${process.platform} ${process.arch}; run npm ci, or set MILLRACE_TEST_CLICKHOUSE`,
      { cause: error },
    )
  }
}

/** Starts a ClickHouse of one's own, with the user `default` and no password. `address` is `http://127.0.0.1:<port>`. */
export async function startClickhouse(options: ClickhouseOptions = {}): Promise<Running> {
  const found = await findClickhouse()
  return startService(found, {
    ports: 1,
    plan(folder, [port]) {
      const address = `http://127.0.0.1:${port}`
      const server =
        found.how === 'docker'
          ? containerPlan({
              image: IMAGE,
              ports: [[port!, 8123]],
              // Otherwise the image lets the user `default` in from inside only.
              env: { CLICKHOUSE_SKIP_USER_SETUP: '1' },
            })
          : {
              command: process.execPath,
              args: [SERVER_FILE, join(folder, 'data'), String(port), ...(options.args ?? [])],
              stdin: 'pipe' as const,
            }
      return {
        ...server,
        name: 'ClickHouse',
        address,
        ready: async () => (await get(`${address}/ping`)) === 'Ok.\n',
        version: async () => (await get(`${address}/?query=SELECT+version()`, 60_000)).trim(),
        readyWithinMs: 60_000,
        stopWithinMs: 8_000,
      }
    },
  })
}

async function get(url: string, withinMs = 2_000): Promise<string> {
  const reply = await fetch(url, { signal: AbortSignal.timeout(withinMs) })
  return reply.text()
}
