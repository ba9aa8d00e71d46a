import { createServer, type Server } from 'node:net'

/**
 * Below what systems give to whoever asks for any port (from 32,768 on by default on Linux, 49,152 on macOS): no neighbour that
 * listens on port 0, or connects, comes to sit on one while a server that had it is down. With 10,000 added they are still below.
 */
const [LOWEST, HIGHEST] = [10_000, 19_999]
/** Each process draws from a hundred of its own, so that none takes one whose server is down for the moment. */
const OWN = 100
const TRIES_MAX = 1_000
const given = new Set<number>()

/**
 * Ports of 127.0.0.1 that were free a moment ago, also with each of `above` added: a Redis Cluster's nodes talk to each other
 * on the port above by 10,000. All are bound at once before any is closed, so they differ. Another process may draw the same one
 * before it is used: who starts a server with it tries again with others when that happens.
 */
export async function freePorts(count: number, above: readonly number[] = []): Promise<number[]> {
  const held: Server[] = []
  const ports: number[] = []
  try {
    for (let tries = 0; ports.length < count; tries++) {
      if (tries === TRIES_MAX) throw new Error(`no ${count} free ports from ${LOWEST} to ${HIGHEST}`)
      const port = tries < TRIES_MAX / 2 ? drawn(process.pid * OWN, OWN) : drawn(0, HIGHEST - LOWEST + 1)
      if (given.has(port)) continue
      const servers = await Promise.all([port, ...above.map((more) => port + more)].map(listen))
      held.push(...servers.filter((server) => server !== undefined))
      if (servers.some((server) => server === undefined)) continue
      ports.push(port)
      given.add(port)
    }
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  }
  return ports
}

function drawn(from: number, among: number): number {
  return LOWEST + ((from + Math.floor(Math.random() * among)) % (HIGHEST - LOWEST + 1))
}

/** What servers say when their port is taken: Redis, Java, Go, ClickHouse. */
export function saysPortTaken(output: string): boolean {
  return /address already in use|could not create server tcp listening socket|failed to bind/i.test(output)
}

/** Undefined when it is taken. */
function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen({ host: '127.0.0.1', port }, () => resolve(server))
  })
}
