import type { ServerResponse } from 'node:http'
import { messageOf } from '../job/errors.ts'

/**
 * Sends one text to every connected console at a steady pace, as server-sent events. The text is made once a tick however
 * many look on, and not at all when nobody does. Bounds: `clientsMax` connections; one that leaves more than `backlogBytesMax`
 * unread is dropped (the page connects again by itself).
 */
export class EventStream {
  readonly #clients = new Set<ServerResponse>()
  readonly #produce: () => Promise<string>
  readonly #intervalMs: number
  readonly #clientsMax: number
  readonly #backlogBytesMax: number
  #timer: NodeJS.Timeout | undefined
  #producing = false

  /** `produce` returns JSON on one line. Default pace 1,000 ms, 16 clients, 1 MiB. */
  constructor(options: {
    produce: () => Promise<string>
    intervalMs?: number
    clientsMax?: number
    backlogBytesMax?: number
  }) {
    this.#produce = options.produce
    this.#intervalMs = options.intervalMs ?? 1_000
    this.#clientsMax = options.clientsMax ?? 16
    this.#backlogBytesMax = options.backlogBytesMax ?? 1024 * 1024
  }

  get clients(): number {
    return this.#clients.size
  }

  get full(): boolean {
    return this.#clients.size >= this.#clientsMax
  }

  /** Takes over a response whose headers are not sent yet. Ask `full` first. `greeting`: an event for this client alone. */
  add(response: ServerResponse, greeting = ''): void {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' })
    // Two seconds until a page that lost us tries again.
    response.write(`retry: 2000\n\n${greeting}`)
    this.#clients.add(response)
    response.once('close', () => this.#remove(response))
    void this.#tick()
    this.#timer ??= setInterval(() => void this.#tick(), this.#intervalMs).unref()
  }

  /** Ends every connection. */
  stop(): void {
    for (const client of this.#clients) client.end()
    this.#clients.clear()
    this.#rest()
  }

  async #tick(): Promise<void> {
    // A status that takes longer than a tick is waited for, not asked for twice.
    if (this.#producing) return
    this.#producing = true
    let event: string
    try {
      event = `data: ${await this.#produce()}\n\n`
    } catch (error) {
      event = `event: trouble\ndata: ${JSON.stringify(messageOf(error, 500))}\n\n`
    } finally {
      this.#producing = false
    }
    for (const client of this.#clients) {
      if (client.writableLength > this.#backlogBytesMax) client.destroy()
      else client.write(event)
    }
  }

  #remove(client: ServerResponse): void {
    this.#clients.delete(client)
    if (this.#clients.size === 0) this.#rest()
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
