import { createServer, type Server } from 'node:net'

/**
 * Ports of 127.0.0.1 that were free a moment ago. All are bound at once before any is closed, so they differ. Another
 * process may take one before it is used: who starts a server with it tries again with others when that happens.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, listen))
  const ports = servers.map((server) => {
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('expected a TCP address')
    return address.port
  })
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** What servers say when their port is taken: Redis, Java, Go, ClickHouse. */
export function saysPortTaken(output: string): boolean {
  return /address already in use|could not create server tcp listening socket|failed to bind/i.test(output)
}

function listen(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: 0 }, () => resolve(server))
  })
}
