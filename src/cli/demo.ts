import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { PassThrough } from 'node:stream'
import { request } from 'undici'
import { configSchema } from '../config/schema.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { MillraceError } from '../job/errors.ts'
import { creatorIds, type Fate } from '../simulator/creators.ts'
import { DEFAULT_CREDENTIALS, PLAYED, type Played } from '../simulator/options.ts'
import type { OracleReport } from '../simulator/oracle.ts'
import { createLog } from '../telemetry/log.ts'
import { firstRound, secondRound } from './demo/jobs.ts'
import { configuredLimits, simulatorLimits } from './demo/limits.ts'
import { Progress } from './demo/progress.ts'
import { SimulatorProcess } from './demo/simulator-process.ts'
import { summary } from './demo/summary.ts'
import { EXIT } from './exit.ts'
import { uvThreadsOf } from './run.ts'
import type { Terminal } from './terminal.ts'

export interface DemoOptions {
  /** On each platform. */
  readonly creators: number
  readonly folder: string
  readonly port: number
  /** Default 9480, or any when `port` is 0. */
  readonly apiPort?: number
  /** Whether it goes on after its work until it is told to stop, also without a terminal. */
  readonly stay: boolean
}

const SEED = 7
/** Creators that the simulator knows on each platform: enough that a share of them is private, and that some are missing. */
const POPULATION = 100_000
/** One in so many is missing, and as many are private. */
const ODD_EVERY = 25
/** The simulator's creators grow a day in a second or so: two rounds half a minute apart show it. */
const TIME_SCALE = 50_000
/** Says that the folder is a demo's, and may be replaced by the next one. */
const MARK = '.millrace-demo'
const LOOK_MS = 50
const API_PORT = 9480
/** Three questions that show what the API is for. */
const API_PATHS = [
  '/v1/creators?limit=3',
  '/v1/dashboard',
  '/v1/export?what=points&metric=followers&format=csv',
]

/**
 * `millrace demo`: the main job with nothing installed. The simulator plays the platforms in a process of its own; the daemon
 * runs here, on its embedded parts, and is the same as `millrace run` starts. Two rounds over all creators, some of them
 * missing or private, some jobs malformed, some replies errors.
 */
export async function demo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const folder = resolve(options.folder)
  emptyFolder(folder)
  await using stack = new AsyncDisposableStack()
  const say = (text: string) => terminal.stdout.write(`${text}\n`)

  const simulator = new SimulatorProcess([
    ...['--seed', String(SEED), '--creators', String(POPULATION), '--time-scale', String(TIME_SCALE)],
    ...['--latency', '40ms', '--jitter', '20ms', '--error-rate', '0.02', '--broken', '0.005'],
    ...['--limits', JSON.stringify(simulatorLimits())],
  ])
  stack.defer(() => simulator.stop())
  const upstream = await simulator.start()
  const creators = PLAYED.map((platform) => ({ platform, ids: idsOf(platform, options.creators) }))
  const rounds = [firstRound, secondRound].map((round) => () => round(creators, new Date().toISOString()))
  const jobs = rounds.reduce((sum, round) => sum + round().length, 0)

  const input = new PassThrough()
  const daemon = await startDaemon(demoConfig(folder, upstream, options), {
    log: createLog({ level: 'info', pretty: false, secrets: [], file: join(folder, 'millrace.log') }),
    input: { stream: input },
    directory: folder,
    uvThreads: uvThreadsOf(terminal.env),
  })
  let stopped = false
  const stop = async () => {
    if (stopped) return
    stopped = true
    await daemon.stop()
  }
  stack.defer(stop)

  say(
    `millrace demo: ${creators.reduce((sum, { ids }) => sum + ids.length, 0)} creators on ${PLAYED.join(', ')}, ${jobs} jobs`,
  )
  say(`  upstream  ${upstream} plays the platforms and enforces their limits`)
  say(`  admin     ${daemon.adminUrl}`)
  say(`  data      ${folder}`)
  say(`  api       ${daemon.apiUrl} shows creators to people, and to programs:`)
  for (const path of API_PATHS) say(`            curl -s '${daemon.apiUrl}${path}'`)
  say('')
  const progress = new Progress(terminal, () => daemon.status(), jobs)
  const startedAtMs = Date.now()
  progress.start()
  try {
    await worked(daemon, rounds, input, terminal.stopping)
  } finally {
    await progress.stop()
  }
  const endedAtMs = Date.now()
  if (terminal.stopping.aborted) return EXIT.failed

  const oracle = await oracleOf(upstream)
  const status = await daemon.status()
  say(
    await summary({
      status,
      oracle,
      engine: daemon.engine,
      folder,
      store: join(folder, 'store'),
      elapsedS: (endedAtMs - startedAtMs) / 1000,
      fromMs: startedAtMs,
      toMs: endedAtMs,
    }),
  )
  if (options.stay || terminal.stdout.isTTY === true) {
    say(
      `\n  The admin page stays at ${daemon.adminUrl}, the API at ${daemon.apiUrl}, until you press Ctrl-C.`,
    )
    await aborted(terminal.stopping)
  }
  await stop()
  return oracle.violations === 0 ? EXIT.done : EXIT.failed
}

/** Publishes the rounds one after the other and resolves when the last job has ended. */
async function worked(
  daemon: Daemon,
  rounds: readonly (() => readonly string[])[],
  input: PassThrough,
  stopping: AbortSignal,
): Promise<void> {
  let published = 0
  for (const linesOf of rounds) {
    const round = linesOf()
    for (const line of round) input.write(`${line}\n`)
    published += round.length
    for (;;) {
      const { finished } = (await daemon.status()).jobs
      if (finished.done + finished.skipped + finished.dead >= published || stopping.aborted) break
      await Promise.race([new Promise((done) => setTimeout(done, LOOK_MS)), daemon.ended, aborted(stopping)])
    }
    if (stopping.aborted) return
  }
  input.end()
  await daemon.ended
}

function demoConfig(folder: string, upstream: string, { port, apiPort }: DemoOptions) {
  return configSchema.parse({
    data: folder,
    limits: configuredLimits(),
    platforms: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        {
          origin: `${upstream}/${platform}`,
          private_origin: true,
          credentials: DEFAULT_CREDENTIALS[platform],
        },
      ]),
    ),
    images: { private_hosts: [new URL(upstream).host] },
    retry: { base: '200ms' },
    admin: { port },
    api: { enabled: true, port: apiPort ?? (port === 0 ? 0 : API_PORT) },
    log: { jobs: 'all' },
  })
}

async function oracleOf(upstream: string): Promise<OracleReport> {
  const { body } = await request(`${upstream}/oracle`)
  return (await body.json()) as OracleReport
}

/** Creators of a platform, some missing and some private ones among them. */
function idsOf(platform: Played, count: number): string[] {
  const odd = Math.floor(count / ODD_EVERY)
  const of = (fate: Fate, n: number) => creatorIds(platform, SEED, n, { fate, creators: POPULATION })
  const ids = of('public', count - 2 * odd)
  const others = [...of('missing', odd), ...of('private', odd)]
  others.forEach((id, i) => {
    ids.splice((i + 1) * Math.floor(ODD_EVERY / 2), 0, id)
  })
  return ids
}

/** A new folder, or the one of an earlier demo; anything else is left alone. */
function emptyFolder(folder: string): void {
  if (existsSync(folder) && !existsSync(join(folder, MARK))) {
    throw new MillraceError(
      'DEMO_FOLDER',
      `${folder} is there and is no earlier demo's; give another one with --folder`,
      { kind: 'usage' },
    )
  }
  try {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, MARK), '')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new MillraceError(
      'DEMO_FOLDER',
      `${folder} cannot be written to (${code}); give another one with --folder`,
      { cause: error },
    )
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done()
    signal.addEventListener('abort', () => done(), { once: true })
  })
}
