import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Found } from './found.ts'
import { poll } from './poll.ts'
import { freePorts, saysPortTaken } from './ports.ts'
import { removeWithUs, tieToUs } from './reaper.ts'

/** A service that a test or the runner has started, and owns. */
export interface Running extends AsyncDisposable {
  /** As the variables in test/need.ts take it. */
  readonly address: string
  readonly found: Found
  /** From the start of its process to its first answer, of the last start. */
  readonly startedInMs: number
  /** What it printed last, on both streams. */
  output(): string
  /** Something to end before `stop` ends the service, such as a client of it; the last one named goes first. */
  beforeStop(end: () => unknown): void
  /** Ends it in its own way, by force when that takes too long, and removes its folder. May be called twice. */
  stop(): Promise<void>
  /** Ends it by SIGKILL, as a crash would. Its folder stays, for `restart`. */
  kill(): Promise<void>
  /** Stops its process where it is (SIGSTOP): connections stay and nothing answers. `thaw`, `kill` and `stop` end that. */
  freeze(): Promise<void>
  /** Lets it go on (SIGCONT). Harmless when it is not frozen. */
  thaw(): Promise<void>
  /** The process that `freeze` stops; a container's is out of reach. Undefined when none runs. */
  readonly pid: number | undefined
  /** Starts it again on the same folder and port, ending it first if it runs. Resolves when it answers. */
  restart(): Promise<void>
}

/** How one service is run; made anew for each try, since a try that met a taken port gets other ports. */
export interface Plan {
  readonly name: string
  readonly address: string
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** `pipe` for a program that lives as long as its standard input. */
  readonly stdin?: 'pipe'
  /** What has to be done once, before the first start. */
  prepare?(): Promise<void>
  /** Resolves with true when it answers; anything else, errors too, means: not yet. `output` is what it printed since this start. */
  ready(output: string): Promise<boolean>
  /** Asked once it answers, where only the running service knows it. */
  version?(): Promise<string>
  readonly readyWithinMs: number
  readonly stopWithinMs: number
  /** Instead of a signal to the process: a container is ended by its engine. */
  end?(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Instead of SIGSTOP and SIGCONT. */
  hold?(frozen: boolean): Promise<void>
  /** After the last end. */
  cleanUp?(): Promise<void>
}

const OUTPUT_LENGTH_MAX = 64 * 1024
const TRIES_MAX = 4

/**
 * Starts a service in a temporary folder of its own, on free ports; on others when somebody took one in between. Rejects
 * with what the service printed when it does not answer in time.
 */
export async function startService(
  found: Found,
  options: { ports: number; plan: (folder: string, ports: readonly number[]) => Plan },
): Promise<Running> {
  for (let attempt = 1; ; attempt++) {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-service-'))
    const ports = await freePorts(options.ports)
    const service = new OwnService(found, folder, options.plan(folder, ports))
    try {
      await service.start()
      return service
    } catch (error) {
      const clash =
        saysPortTaken(service.output()) || (error instanceof Error && saysPortTaken(error.message))
      await service.stop()
      if (!clash || attempt === TRIES_MAX) throw error
    }
  }
}

class OwnService implements Running {
  found: Found
  startedInMs = 0
  readonly #plan: Plan
  readonly #folder: string
  readonly #folderGone: () => void
  #child: ChildProcess | undefined
  #untie: () => void = () => {}
  #output = ''
  #frozen = false
  #stopped: Promise<void> | undefined
  readonly #endBefore: (() => unknown)[] = []

  constructor(found: Found, folder: string, plan: Plan) {
    this.found = found
    this.#folder = folder
    this.#plan = plan
    this.#folderGone = removeWithUs(folder)
  }

  get address(): string {
    return this.#plan.address
  }

  output(): string {
    return this.#output
  }

  async start(): Promise<void> {
    await this.#plan.prepare?.()
    await this.#launch()
    if (this.#plan.version !== undefined) this.found = { ...this.found, version: await this.#plan.version() }
  }

  beforeStop(end: () => unknown): void {
    this.#endBefore.push(end)
  }

  async stop(): Promise<void> {
    this.#stopped ??= this.#stopOnce()
    await this.#stopped
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  get pid(): number | undefined {
    const child = this.#child
    const runs = child !== undefined && child.exitCode === null && child.signalCode === null
    return runs && this.#plan.end === undefined ? child.pid : undefined
  }

  async freeze(): Promise<void> {
    this.#frozen = true
    await this.#hold(true)
  }

  async thaw(): Promise<void> {
    if (!this.#frozen) return
    this.#frozen = false
    await this.#hold(false)
  }

  async restart(): Promise<void> {
    if (this.#stopped !== undefined)
      throw new Error(`${this.#plan.name}: cannot restart, its folder is removed`)
    await this.#end('SIGTERM')
    await this.#launch()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #stopOnce(): Promise<void> {
    for (const end of this.#endBefore.reverse()) await end()
    await this.#end('SIGTERM')
    await this.#plan.cleanUp?.()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
    this.#folderGone()
  }

  async #launch(): Promise<void> {
    const { name, command, args, ready, readyWithinMs } = this.#plan
    this.#output = ''
    const startedAt = performance.now()
    const child = spawn(command, [...args], {
      cwd: this.#plan.cwd ?? this.#folder,
      env: { ...process.env, ...this.#plan.env },
      stdio: [this.#plan.stdin ?? 'ignore', 'pipe', 'pipe'],
      // A group of its own: Ctrl-C in the terminal is for the runner, which ends the services after the tests.
      detached: true,
    })
    this.#child = child
    if (child.pid !== undefined) this.#untie = tieToUs(child.pid)
    const take = (text: string) => {
      this.#output = (this.#output + text).slice(-OUTPUT_LENGTH_MAX)
    }
    child.stdout?.setEncoding('utf8').on('data', take)
    child.stderr?.setEncoding('utf8').on('data', take)
    child.stdin?.on('error', () => {})
    const ended = new AbortController()
    child.once('error', (error) =>
      ended.abort(new Error(`${name}: ${command} did not start: ${error.message}`)),
    )
    // `close`, not `exit`: what it printed last says why.
    child.once('close', (code, signal) =>
      ended.abort(new Error(`${name}: ended by ${signal ?? `code ${code}`} while starting`)),
    )
    try {
      await poll(async () => ((await ready(this.#output)) ? true : undefined), {
        withinMs: readyWithinMs,
        signal: ended.signal,
        what: `${name} answers at ${this.address}`,
      })
    } catch (error) {
      const reason = ended.signal.aborted ? ended.signal.reason : error
      await this.#end('SIGKILL')
      throw withOutput(reason, this.#output)
    }
    this.startedInMs = performance.now() - startedAt
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.pid === undefined) return
    // A frozen process hears SIGTERM only once it goes on, and an engine may refuse to end a paused container.
    await this.thaw()
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      await this.#signal(child.pid, signal)
      const timer = setTimeout(() => void this.#signal(child.pid!, 'SIGKILL'), this.#plan.stopWithinMs)
      await exited
      clearTimeout(timer)
    }
    this.#untie()
  }

  async #hold(frozen: boolean): Promise<void> {
    if (this.#plan.hold !== undefined) await this.#plan.hold(frozen)
    else if (this.pid !== undefined) process.kill(this.pid, frozen ? 'SIGSTOP' : 'SIGCONT')
  }

  async #signal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#plan.end !== undefined) {
      await this.#plan.end(signal)
      return
    }
    try {
      process.kill(pid, signal)
    } catch {
      // Ended in between; the exit is awaited anyway.
    }
  }
}

function withOutput(reason: unknown, output: string): Error {
  const message = reason instanceof Error ? reason.message : String(reason)
  const tail = output.trim().split('\n').slice(-40).join('\n')
  return new Error(tail === '' ? message : `${message}\nIts output ended with:\n${tail}`, { cause: reason })
}
