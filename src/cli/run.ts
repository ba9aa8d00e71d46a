import { resolve } from 'node:path'
import type { Environment } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { StuckError, startDaemon } from '../daemon.ts'
import { UV_THREADS_DEFAULT } from '../images/pool-size.ts'
import { createLog } from '../telemetry/log.ts'
import { EXIT } from './exit.ts'
import { takeStdin } from './stdin.ts'
import type { Terminal } from './terminal.ts'

/** `millrace run`: starts the daemon, and stops it in good order when told to, or when a finite input has been worked off. */
export async function run(config: Config, options: { input?: string }, terminal: Terminal): Promise<number> {
  const log = createLog({
    level: config.log.level,
    pretty: config.log.pretty ?? terminal.stderr.isTTY === true,
    secrets: terminal.secrets,
  })
  const file = options.input ?? config.intake.file
  const isStdin = config.kafka === undefined && file === '-'
  const taken = config.clickhouse === undefined ? takeStdin(isStdin) : undefined
  const daemon = await startDaemon(config, {
    log,
    secrets: terminal.secrets,
    input: isStdin ? { stream: taken ?? terminal.stdin } : { file: resolve(file) },
    directory: process.cwd(),
    uvThreads: uvThreadsOf(terminal.env),
  })
  const stopped = new Promise<'stopped'>((done) => {
    terminal.stopping.addEventListener('abort', () => done('stopped'), { once: true })
    if (terminal.stopping.aborted) done('stopped')
  })
  try {
    const worked = daemon.ended.then((why) => {
      if (daemon.apiUrl === null) return why
      log.info({ url: daemon.apiUrl }, 'the input has been worked off; the API goes on, and takes in jobs')
      return stopped
    })
    const why = await Promise.race([stopped, worked])
    log.info(
      { why },
      why === 'stopped' ? 'stopping: draining what is in flight' : 'the input has been worked off',
    )
  } catch (error) {
    if (error instanceof StuckError) {
      log.fatal(error.message)
      await daemon.stop()
      process.kill(process.pid, 'SIGKILL')
    }
    throw error
  } finally {
    await daemon.stop()
  }
  log.info('stopped')
  return EXIT.done
}

/** The size of libuv's thread pool, as main has set it. */
export function uvThreadsOf(env: Environment): number {
  return Number(env.UV_THREADPOOL_SIZE ?? UV_THREADS_DEFAULT)
}
