import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onPath, versionOf } from './command.ts'
import { canInstallPackages, installPackage } from './debian.ts'
import { type Found, ServiceMissing } from './found.ts'
import { type Running, startService } from './running.ts'

export interface PrometheusOptions {
  /** The text of prometheus.yml. Relative paths in it are relative to `folder`. */
  readonly configuration: string
  /** Files beside it (rules), by name. */
  readonly files?: Readonly<Record<string, string>>
}

/** The server. Docker is not asked: tests run it on their own files, and beside its own `promtool`. */
export function findPrometheus(): Promise<Found> {
  return findProgram('prometheus', 'MILLRACE_TEST_PROMETHEUS_BINARY')
}

/** The checker of rules, which comes with the server. */
export function findPromtool(): Promise<Found> {
  return findProgram('promtool', 'MILLRACE_TEST_PROMTOOL')
}

/** Starts a Prometheus of one's own. `address` is `http://127.0.0.1:<port>`. */
export async function startPrometheus(options: PrometheusOptions): Promise<Running> {
  const found = await findPrometheus()
  return startService(found, {
    ports: 1,
    plan(folder, [port]) {
      const address = `http://127.0.0.1:${port}`
      const file = join(folder, 'prometheus.yml')
      return {
        name: 'Prometheus',
        address,
        command: found.at,
        args: [
          `--config.file=${file}`,
          `--storage.tsdb.path=${join(folder, 'data')}`,
          `--web.listen-address=127.0.0.1:${port}`,
          '--log.level=warn',
        ],
        async prepare() {
          await writeFile(file, options.configuration)
          for (const [name, text] of Object.entries(options.files ?? {}))
            await writeFile(join(folder, name), text)
        },
        ready: async () => (await fetch(`${address}/-/ready`, { signal: AbortSignal.timeout(2_000) })).ok,
        readyWithinMs: 30_000,
        stopWithinMs: 10_000,
      }
    },
  })
}

async function findProgram(name: string, variable: string): Promise<Found> {
  const installed = onPath(name)
  if (installed !== undefined)
    return { how: 'installed', version: await versionOf(installed, ['--version']), at: installed }
  if (canInstallPackages()) {
    try {
      await installPackage('prometheus')
    } catch (error) {
      throw new ServiceMissing(name, `could not be installed: ${(error as Error).message}`, { cause: error })
    }
    const at = onPath(name)
    if (at !== undefined) return { how: 'fetched', version: await versionOf(at, ['--version']), at }
  }
  throw new ServiceMissing(
    name,
    `not on PATH; install Prometheus (Debian: apt-get install prometheus), or set ${variable}`,
  )
}
