import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ServiceAwayError } from '../../job/errors.ts'

const START_MS_MAX = 15_000
const STOP_MS_MAX = 3_000

/** The simulator in a process of its own, as an upstream is; it ends with us. */
export class SimulatorProcess {
  readonly #args: readonly string[]
  #child: ChildProcess | undefined

  constructor(args: readonly string[]) {
    this.#args = args
  }

  /** Resolves with its address, without a slash at the end. */
  async start(): Promise<string> {
    // The entry beside this code: main.ts in the sources, main.js in `dist/`.
    const main = fileURLToPath(
      new URL(`../../main.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
    )
    const child = spawn(process.execPath, [main, 'simulate', '--port', '0', ...this.#args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#child = child
    let said = ''
    const address = new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(away('did not start in time')), START_MS_MAX)
      child.once('exit', (code) => reject(away(`ended with code ${code}`)))
      child.once('error', (error) => reject(away(error.message)))
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        said += text
        const match = /http:\/\/\S+/.exec(said)
        if (match === null) return
        clearTimeout(timer)
        resolve(match[0])
      })
    })
    return address
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
    await gone
    clearTimeout(timer)
  }
}

function away(what: string): ServiceAwayError {
  return new ServiceAwayError('simulator', `the simulator ${what}`)
}
