import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

export interface HeldUpstream {
  readonly origin: string
  /** The next call, when it has come: it waits for an answer. */
  call(): Promise<ServerResponse>
}

/** An upstream whose answers a test gives, each when it wants to. */
export async function startHeldUpstream(t: TestContext): Promise<HeldUpstream> {
  const waiting: ServerResponse[] = []
  const askers: ((response: ServerResponse) => void)[] = []
  const server = createServer({ keepAliveTimeout: 600_000 }, (_request, response) => {
    const asker = askers.shift()
    if (asker === undefined) waiting.push(response)
    else asker(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    call: () => {
      const { promise, resolve } = Promise.withResolvers<ServerResponse>()
      const first = waiting.shift()
      if (first === undefined) askers.push(resolve)
      else resolve(first)
      return promise
    },
  }
}

/** YouTube's answer for a channel that is not there. */
export function answerNothing(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"items":[]}')
}
