import { type IncomingMessage, request } from 'node:http'

export interface Heard {
  readonly id: string
  readonly kind: string
  readonly job_id: string
}

/** A client of the stream over server-sent events, which goes on after the last event that it had when it connects again. */
export class EventClient {
  url: string
  readonly got: Heard[] = []
  #reply: IncomingMessage | undefined
  #waiting: (() => void)[] = []

  constructor(url: string) {
    this.url = url
  }

  /** Resolves when the stream has begun. */
  connect(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const last = this.got.at(-1)?.id
    const asked = request(this.url, {
      agent: false,
      headers: last === undefined ? {} : { 'last-event-id': last },
    })
    asked.once('error', reject)
    asked.once('response', (reply) => {
      this.#reply = reply
      let text = ''
      reply.setEncoding('utf8')
      // `close` follows; whether it was whole, `ended` says.
      reply.on('error', () => {})
      reply.on('data', (chunk: string) => {
        resolve()
        const blocks = (text + chunk).split('\n\n')
        text = blocks.pop() ?? ''
        for (const block of blocks) this.#take(block)
        for (const look of this.#waiting.splice(0)) look()
      })
    })
    asked.end()
    return promise
  }

  /** Resolves when `holds` does, looked at after each piece that comes. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((look) => this.#waiting.push(look))
  }

  /** How the stream ended, when it does. */
  ended(): Promise<'whole' | 'broken'> {
    const reply = this.#reply
    return new Promise((resolve) => reply?.once('close', () => resolve(reply.complete ? 'whole' : 'broken')))
  }

  close(): void {
    this.#reply?.destroy()
  }

  #take(block: string): void {
    const id = /^id: (.+)$/m.exec(block)?.[1]
    if (id === undefined) return
    this.got.push({ id, ...(JSON.parse(/^data: (.+)$/m.exec(block)?.[1] ?? '') as Omit<Heard, 'id'>) })
  }
}
