import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import type { LevelState } from '../job/permit.ts'
import { sleep } from '../lib/abort.ts'
import { utilisationOf } from '../limiter/utilisation.ts'
import { EXIT } from './exit.ts'
import { stateLimitText } from './limit-text.ts'
import { openLevels } from './limits-source.ts'
import { grouped, percent, table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { clock, span } from './time.ts'

export interface LimitsOptions {
  readonly watch: boolean
  readonly json: boolean
  /** Admin address of a daemon to ask. Default: Redis when it is configured, else the daemon of `admin`. */
  readonly url?: string
}

const WATCH_EVERY_MS = 1_000
/** Everything, and the cursor to the top. */
const CLEAR = '\x1b[2J\x1b[3J\x1b[H'

/**
 * `millrace limits`: the state of each level, once or every second. Exit code 3 when nobody answers at first; whoever goes away
 * while it watches is waited for.
 */
export async function limits(config: Config, options: LimitsOptions, terminal: Terminal): Promise<number> {
  const { stdout } = terminal
  // The reader of a pipe has seen enough: as good as Ctrl-C. What was written last may fail after we are done.
  const unread = new AbortController()
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    unread.abort()
  })
  const stopping = AbortSignal.any([terminal.stopping, unread.signal])
  const live = options.watch && stdout.isTTY === true && !options.json

  const source = await openLevels(config, options.url)
  try {
    for (let snapshots = 0; !stopping.aborted; snapshots++) {
      const seen = await source.look(stopping).catch((error: unknown) => {
        const isAway = error instanceof MillraceError && error.kind === 'service_away'
        if (stopping.aborted || (isAway && snapshots > 0)) return error as Error
        throw error
      })
      if (stopping.aborted) break
      const nowMs = Date.now()
      if (options.json) {
        if (seen instanceof Error) terminal.stderr.write(`${seen.message}\n`)
        else for (const state of seen) stdout.write(`${JSON.stringify(reportOf(state, nowMs))}\n`)
      } else {
        const text = seen instanceof Error ? seen.message : levelTable(seen, nowMs)
        const before = live ? CLEAR : snapshots > 0 ? '\n' : ''
        stdout.write(`${before}${clock(nowMs, nowMs)}  ${source.whose}\n${text}\n`)
      }
      if (!options.watch) break
      await sleep(WATCH_EVERY_MS, stopping).catch(() => {})
    }
    return EXIT.done
  } finally {
    await source.close()
  }
}

/** One level for programs: as the limiter states it, when, and the share that is used. */
function reportOf(state: LevelState, nowMs: number): object {
  return { at: new Date(nowMs).toISOString(), ...state, used: usedOf(state) }
}

/**
 * Of a bucket and a window, the share of what they sustain that was granted over the last minute (a burst may bring it above 1); of
 * a quota, the share that is gone until it begins anew.
 */
function usedOf(state: LevelState): number {
  return state.kind === 'quota' ? 1 - state.remaining / state.capacity : utilisationOf(state)
}

function levelTable(levels: readonly LevelState[], nowMs: number): string {
  const lowered = levels.some(({ factor }) => factor < 1)
  const columns = [
    { title: 'level' },
    { title: 'limit' },
    { title: 'last minute', numeric: true },
    { title: 'used', numeric: true },
    { title: 'remaining', numeric: true },
    { title: 'waiting', numeric: true },
    ...(lowered ? [{ title: 'factor', numeric: true }] : []),
    { title: 'blocked until' },
    { title: 'resets at' },
  ]
  const rows = levels.map((state) => [
    state.level,
    stateLimitText(state),
    grouped(Math.round(state.grantedLastMinute)),
    percent(usedOf(state)),
    grouped(Math.floor(state.remaining)),
    grouped(state.waiting),
    ...(lowered ? [state.factor < 1 ? `${Math.round(state.factor * 100)}%` : ''] : []),
    until(state.blockedUntilMs, nowMs),
    until(state.resetsAtMs, nowMs),
  ])
  return table(columns, rows)
}

/** A time to come, on the clock of this machine, and how far away it is; nothing when it is over, or never was. */
function until(atMs: number, nowMs: number): string {
  return atMs > nowMs ? `${clock(atMs, nowMs)} (${span(atMs - nowMs)})` : ''
}
