import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Status } from '../../src/admin/status.ts'
import { type Ended, Millrace } from '../daemon/process.ts'
import { peakRssOf } from '../services/peak-rss.ts'
import { poll } from '../services/poll.ts'
import { tieToUs } from '../services/reaper.ts'

/** Until a daemon is ready on a machine that has much else to do: it joins, waits for its limits, and so on. */
const READY_WITHIN_MS = 60_000
/** After its drain a daemon leaves its group and closes what it has open. */
const CLOSE_MS = 20_000
const SAMPLE_EVERY_MS = 1_000
/** The event loop's reading covers up to two windows of 15 s; a freeze of ours is no delay of theirs. */
const TAINTED_MS = 31_000

export interface FleetOptions {
  readonly folder: string
  readonly configuration: string
  /** Within which a daemon that is told to stop has to end with code 0. */
  readonly drainMs: number
  /** Where each daemon's log is to stay, or undefined. */
  readonly logs: string | undefined
}

/** How a daemon ended that was told to. */
export interface Stopped {
  readonly daemon: string
  readonly code: number | null
  readonly tookMs: number
}

/** One daemon, from its start to its end. */
export class Daemon {
  /** Its place; who takes it over finds its folder. */
  readonly place: number
  readonly name: string
  readonly adminUrl: string
  readonly process: Millrace
  frozen = false
  thawedAtMs = Number.NEGATIVE_INFINITY
  /** Whether its end is our doing. */
  told = false

  constructor(place: number, name: string, process: Millrace, adminUrl: string) {
    this.place = place
    this.name = name
    this.process = process
    this.adminUrl = adminUrl
  }

  freeze(): void {
    this.frozen = true
    this.process.child.kill('SIGSTOP')
  }

  thaw(): void {
    this.process.child.kill('SIGCONT')
    this.frozen = false
    this.thawedAtMs = performance.now()
  }

  /** Null when it does not answer at once. */
  async get(path: string): Promise<Response | null> {
    return fetch(`${this.adminUrl}${path}`, { signal: AbortSignal.timeout(900) }).catch(() => null)
  }
}

/** The daemons of a run: starts them, ends them, and watches what they take. */
export class Fleet implements AsyncDisposable {
  readonly #options: FleetOptions
  readonly #running = new Set<Daemon>()
  readonly #sampling: NodeJS.Timeout
  #started = 0
  readonly #lost = new AbortController()
  readonly stopped: Stopped[] = []
  killed = 0
  peakRssBytes = 0
  worstLoopP99Ms = 0

  constructor(options: FleetOptions) {
    this.#options = options
    this.#sampling = setInterval(() => void this.#sample(), SAMPLE_EVERY_MS)
  }

  /** In the order in which they were started. */
  get daemons(): readonly Daemon[] {
    return [...this.#running]
  }

  get started(): number {
    return this.#started
  }

  /** Aborted when a daemon has ended by itself. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** Resolves when the daemon is ready, with partitions. */
  async start(place: number): Promise<Daemon> {
    const name = `${place}.${++this.#started}`
    const own = join(this.#options.folder, `daemon-${place}`)
    mkdirSync(own, { recursive: true })
    writeFileSync(join(own, 'millrace.yaml'), this.#options.configuration)
    const child = new Millrace(['run'], { cwd: own })
    const untie = child.child.pid === undefined ? () => {} : tieToUs(child.child.pid)
    void child.ended.then((ended) => {
      untie()
      this.#keepLog(name, ended)
    })
    const [, adminUrl = ''] = await child.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)
    const daemon = new Daemon(place, name, child, adminUrl)
    this.#running.add(daemon)
    void child.ended.then((ended) => this.#onEnd(daemon, ended))
    await poll(async () => ((await daemon.get('/readyz'))?.ok === true ? true : undefined), {
      withinMs: READY_WITHIN_MS,
      everyMs: 100,
      what: `daemon ${name} is ready`,
    })
    return daemon
  }

  async kill(daemon: Daemon): Promise<void> {
    daemon.told = true
    this.#running.delete(daemon)
    await daemon.process.kill()
    this.killed += 1
  }

  /** SIGTERM, and its end in good order. Throws when it takes too long, or ends otherwise. */
  async stop(daemon: Daemon): Promise<void> {
    daemon.told = true
    const fromMs = performance.now()
    const late = setTimeout(() => daemon.process.child.kill('SIGKILL'), this.#options.drainMs + CLOSE_MS)
    const { code, stderr } = await daemon.process.stop()
    clearTimeout(late)
    this.#running.delete(daemon)
    const tookMs = performance.now() - fromMs
    this.stopped.push({ daemon: daemon.name, code, tookMs })
    if (code !== 0) {
      const how = code === null ? 'had to be killed' : `ended with code ${code}`
      throw new Error(`daemon ${daemon.name} ${how} ${Math.round(tookMs)} ms after SIGTERM:\n${tail(stderr)}`)
    }
  }

  /** Why each of them is not ready, for a message. */
  async complaints(): Promise<string> {
    const said = await Promise.all(
      this.daemons.map(async (daemon) => {
        const reply = await daemon.get('/readyz')
        return `${daemon.name}: ${reply === null ? 'no answer' : (await reply.text()).trim()}`
      }),
    )
    return said.join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sampling)
    await Promise.all(this.daemons.map((daemon) => this.kill(daemon)))
  }

  #onEnd(daemon: Daemon, { code, stderr }: Ended): void {
    this.#running.delete(daemon)
    if (daemon.told) return
    this.#lost.abort(new Error(`daemon ${daemon.name} ended by itself with code ${code}:\n${tail(stderr)}`))
  }

  #keepLog(name: string, { stdout, stderr }: Ended): void {
    const { logs } = this.#options
    if (logs === undefined) return
    mkdirSync(logs, { recursive: true })
    writeFileSync(join(logs, `daemon-${name}.log`), stdout + stderr)
  }

  async #sample(): Promise<void> {
    await Promise.all(
      this.daemons.map(async (daemon) => {
        this.peakRssBytes = Math.max(this.peakRssBytes, peakRssOf(daemon.process.child.pid))
        if (daemon.frozen) return
        const reply = await daemon.get('/status')
        const status = (await reply?.json().catch(() => null)) as Status | null | undefined
        if (status === null || status === undefined) return
        this.peakRssBytes = Math.max(this.peakRssBytes, status.memory.rssBytes)
        if (daemon.frozen || performance.now() - daemon.thawedAtMs < TAINTED_MS) return
        this.worstLoopP99Ms = Math.max(this.worstLoopP99Ms, status.loop.p99Ms)
      }),
    )
  }
}

function tail(text: string): string {
  return text.trim().split('\n').slice(-20).join('\n')
}
