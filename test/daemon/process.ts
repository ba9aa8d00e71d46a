import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A millrace command in a process of its own, as its users run it. */
export class Millrace {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  #stdout = ''
  #stderr = ''
  readonly #watchers = new Set<() => void>()

  constructor(
    args: readonly string[],
    // `stdin` null: it stays open, for the test to write to and to end.
    options: { cwd?: string; env?: Record<string, string>; stdin?: string | null } = {},
  ) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_'))
    // The platforms are other machines, which note at once when a call arrives, however busy this one is. Where nobody may put a
    // process before others, `nice` says so and starts it all the same.
    const [command = '', ...before] =
      args[0] === 'simulate' ? ['nice', '-n', '-15', process.execPath] : [process.execPath]
    this.child = spawn(command, [...before, MAIN, ...args], {
      cwd: options.cwd,
      env: { ...Object.fromEntries(inherited), ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    if (options.stdin !== null) this.child.stdin?.end(options.stdin ?? '')
    this.child.stdin?.on('error', () => {})
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
      for (const look of this.#watchers) look()
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
      for (const look of this.#watchers) look()
    })
    this.ended = once(this.child, 'close').then(([code]) => ({
      code: code as number | null,
      stdout: this.#stdout,
      stderr: this.#stderr,
    }))
  }

  /** Resolves with the match when standard output or error shows it; rejects when the process ends without. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr)
        if (match === null) return
        this.#watchers.delete(look)
        resolve(match)
      }
      this.#watchers.add(look)
      look()
      void this.ended.then(({ code, stderr }) =>
        reject(new Error(`ended with ${code} before ${pattern}: ${stderr.slice(-2000)}`)),
      )
    })
  }

  /** SIGTERM, then its end. Harmless when it has ended. */
  async stop(): Promise<Ended> {
    this.child.kill('SIGTERM')
    return await this.ended
  }

  async kill(): Promise<Ended> {
    this.child.kill('SIGKILL')
    return await this.ended
  }
}
