import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** Who answers all requests of a benchmark: a process of its own, so that its CPU is nobody else's. */
export class UpstreamProcess implements AsyncDisposable {
  readonly origin: string
  readonly #child: ChildProcess

  private constructor(origin: string, child: ChildProcess) {
    this.origin = origin
    this.#child = child
  }

  static async start(): Promise<UpstreamProcess> {
    const child = fork(fileURLToPath(new URL('upstream.ts', import.meta.url)))
    const [port] = (await once(child, 'message')) as [number]
    return new UpstreamProcess(`http://127.0.0.1:${port}`, child)
  }

  async stop(): Promise<void> {
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}
