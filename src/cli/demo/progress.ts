import type { Status } from '../../admin/status.ts'
import { grouped } from '../table.ts'
import type { Terminal } from '../terminal.ts'

const BAR_WIDTH = 24
const LIVE_MS = 250
const PLAIN_MS = 2_000

/**
 * Shows how the demo comes along: redrawn in place on a terminal, a plain line every two seconds elsewhere. `stop` leaves
 * the last state standing.
 */
export class Progress {
  readonly #terminal: Terminal
  readonly #status: () => Promise<Status>
  readonly #jobs: number
  readonly #live: boolean
  readonly #startedAtMs = performance.now()
  #timer: NodeJS.Timeout | undefined
  #drawn = 0
  #drawing: Promise<void> = Promise.resolve()

  constructor(terminal: Terminal, status: () => Promise<Status>, jobs: number) {
    this.#terminal = terminal
    this.#status = status
    this.#jobs = jobs
    this.#live = terminal.stdout.isTTY === true
  }

  start(): void {
    const draw = () => {
      this.#drawing = this.#drawing.then(() => this.#draw())
    }
    draw()
    this.#timer ??= setInterval(draw, this.#live ? LIVE_MS : PLAIN_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#drawing
    await this.#draw()
  }

  async #draw(): Promise<void> {
    const status = await this.#status()
    const lines = this.#live
      ? liveLines(status, this.#jobs, this.#elapsedS())
      : [plainLine(status, this.#jobs, this.#elapsedS())]
    // Up over what was drawn before, and each line cleared before it is written anew.
    const up = this.#live && this.#drawn > 0 ? `\x1b[${this.#drawn}A` : ''
    const width = this.#terminal.stdout.columns ?? 80
    const text = lines.map((line) => (this.#live ? `\x1b[2K${line.slice(0, width - 1)}` : line)).join('\n')
    this.#terminal.stdout.write(`${up}${text}\n`)
    this.#drawn = lines.length
  }

  #elapsedS(): number {
    return (performance.now() - this.#startedAtMs) / 1000
  }
}

function ended(status: Status): number {
  const { done, skipped, dead } = status.jobs.finished
  return done + skipped + dead
}

function rowsWritten(status: Status): number {
  return Object.values(status.rows.written).reduce((sum, count) => sum + count, 0)
}

function permitsOf(status: Status): { platform: string; granted: number; queued: number }[] {
  return Object.entries(status.permits).map(([platform, endpoints]) => {
    const all = Object.values(endpoints)
    return {
      platform,
      granted: all.reduce((sum, { granted }) => sum + granted, 0),
      queued: all.reduce((sum, { queued }) => sum + queued, 0),
    }
  })
}

function plainLine(status: Status, jobs: number, elapsedS: number): string {
  const permits = permitsOf(status)
  const each = permits.map(({ platform, granted }) => `${platform} ${granted}`).join(', ')
  const sum = permits.reduce((total, { granted }) => total + granted, 0)
  return (
    `${elapsedS.toFixed(0).padStart(3)} s  jobs ${ended(status)}/${jobs}  permits ${sum} (${each})  ` +
    `pictures ${status.pictures.stored + status.pictures.known}  rows ${rowsWritten(status)}`
  )
}

function liveLines(status: Status, jobs: number, elapsedS: number): string[] {
  const done = ended(status)
  const filled = Math.round((done / Math.max(1, jobs)) * BAR_WIDTH)
  const { stored, known, rejected } = status.pictures
  const lines = [
    `  jobs      ${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${done}/${jobs}  ${elapsedS.toFixed(0)} s`,
    ...permitsOf(status).map(({ platform, granted, queued }) => {
      return `  ${platform.padEnd(9)} ${grouped(granted).padStart(6)} permits granted  ${grouped(queued).padStart(5)} calls waiting`
    }),
    ...status.levels
      .filter(({ kind }) => kind === 'bucket')
      .map(({ level, remaining, capacity, rate }) => {
        const free = Math.max(0, Math.min(BAR_WIDTH, Math.round((remaining / capacity) * BAR_WIDTH)))
        return `  ${level.padEnd(20)} ${'▪'.repeat(free).padEnd(BAR_WIDTH, '·')} ${grouped(Math.floor(remaining))} free, refilled with ${rate}/s`
      }),
    `  pictures  ${stored} stored, ${known} known already, ${rejected} rejected`,
    `  rows      ${grouped(rowsWritten(status))} in ClickHouse`,
  ]
  return lines
}
