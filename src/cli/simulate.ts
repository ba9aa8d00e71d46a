import { MillraceError, messageOf } from '../job/errors.ts'
import { OPEN_LIMITS, type SimulatorLimits } from '../simulator/options.ts'
import { createSimulator } from '../simulator/simulator.ts'
import { EXIT } from './exit.ts'
import type { Terminal } from './terminal.ts'

export interface SimulateOptions {
  readonly host: string
  readonly port: number
  readonly creators: number
  readonly seed: number
  readonly latency: number
  readonly jitter: number
  readonly errorRate: number
  readonly throttleRate: number
  readonly missing: number
  readonly private: number
  readonly broken: number
  readonly timeScale: number
  readonly accounts: number
  /** JSON, or `open` for none at all. */
  readonly limits?: string
}

/** `millrace simulate`: plays the platforms until told to stop. The first line of standard output is its address. */
export async function simulate(options: SimulateOptions, terminal: Terminal): Promise<number> {
  const simulator = createSimulator({
    host: options.host,
    port: options.port,
    creators: options.creators,
    seed: options.seed,
    latencyMs: options.latency,
    jitterMs: options.jitter,
    errorRate: options.errorRate,
    throttleRate: options.throttleRate,
    missingShare: options.missing,
    privateShare: options.private,
    brokenShare: options.broken,
    timeScale: options.timeScale,
    accounts: options.accounts,
    ...(options.limits === undefined ? {} : { limits: limitsOf(options.limits) }),
  })
  const { port } = await simulator.start()
  terminal.stdout.write(`simulator http://${options.host}:${port}  (limits as seen: /oracle)\n`)
  await new Promise<void>((done) => {
    terminal.stopping.addEventListener('abort', () => done(), { once: true })
    if (terminal.stopping.aborted) done()
  })
  await simulator.stop()
  return EXIT.done
}

function limitsOf(text: string): SimulatorLimits {
  if (text === 'open') return OPEN_LIMITS
  try {
    return JSON.parse(text) as SimulatorLimits
  } catch (error) {
    throw new MillraceError(
      'USAGE',
      `--limits: found ${messageOf(error, 200)}, expected JSON or the word open`,
      { kind: 'usage' },
    )
  }
}
