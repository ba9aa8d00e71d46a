import { once } from 'node:events'
import net from 'node:net'
import { freePorts } from '../services/ports.ts'

/**
 * A way to Redis that a test can cut (connections end, new ones are refused), freeze (bytes go nowhere), slow down, or lead elsewhere.
 */
export class RedisProxy {
  #target: URL
  readonly #sockets = new Set<net.Socket>()
  #server: net.Server | undefined
  #port = 0
  #frozen = false
  /** Added to every reply. */
  delayMs = 0

  constructor(address: string) {
    this.#target = new URL(address)
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`
  }

  /** Opens the way, the first time on a free port, then always on the same. */
  async open(): Promise<void> {
    this.#frozen = false
    const server = net.createServer((near) => {
      const far = net.connect(Number(this.#target.port), this.#target.hostname)
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('data', (bytes) => {
          if (this.#frozen) return
          if (from === far && this.delayMs > 0) setTimeout(() => to.write(bytes), this.delayMs)
          else to.write(bytes)
        })
        from.on('error', () => {})
        from.on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
      }
    })
    if (this.#port === 0) this.#port = (await freePorts(1))[0]!
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
  }

  freeze(): void {
    this.#frozen = true
  }

  /** New connections lead to another server; those that are open end. */
  lead(address: string): void {
    this.#target = new URL(address)
    for (const socket of this.#sockets) socket.destroy()
  }

  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(server, 'close')
  }
}
