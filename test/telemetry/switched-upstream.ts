import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a platform does with every call: answers, refuses the credential, asks for a second's or a minute's patience, says nothing. */
export type Mood = 'well' | 'unauthorized' | 'slow_down' | 'blocked' | 'silent'

/** Stands before the simulator, at `<url>/<platform>/…`, and gives each platform its mood. */
export class SwitchedUpstream {
  readonly #behind: URL
  readonly #moods = new Map<string, Mood>()
  #server: Server | undefined
  #url = ''

  constructor(behind: string) {
    this.#behind = new URL(behind)
  }

  get url(): string {
    return this.#url
  }

  set(platform: string, mood: Mood): void {
    this.#moods.set(platform, mood)
  }

  async open(): Promise<void> {
    const server = createServer({ keepAliveTimeout: 600_000 }, (incoming, outgoing) => {
      const platform = (incoming.url ?? '').split('/')[1] ?? ''
      const mood = this.#moods.get(platform) ?? 'well'
      if (mood === 'silent') return
      if (mood === 'unauthorized') {
        outgoing
          .writeHead(401, { 'content-type': 'application/json' })
          .end('{"error":{"message":"no such key"}}')
        return
      }
      if (mood === 'slow_down' || mood === 'blocked') {
        outgoing
          .writeHead(429, {
            'content-type': 'application/json',
            'retry-after': mood === 'blocked' ? '60' : '1',
          })
          .end('{}')
        return
      }
      const { hostname, port } = this.#behind
      const { method, headers, url: path } = incoming
      const through = request(
        { hostname, port, path, method, headers: { ...headers, host: this.#behind.host } },
        (reply) => {
          outgoing.writeHead(reply.statusCode ?? 502, reply.headers)
          reply.pipe(outgoing)
        },
      )
      through.on('error', () => outgoing.destroy())
      outgoing.on('close', () => through.destroy())
      incoming.pipe(through)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    this.#server = server
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((done) => this.#server?.close(done))
  }
}
