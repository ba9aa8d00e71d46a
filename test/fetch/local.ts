import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { FetchEngine, type FetchEngineOptions, type FetchEnginePorts } from '../../src/fetch/engine.ts'
import type { Address, NameService } from '../../src/fetch/resolver.ts'
import type { FetchRequest } from '../../src/job/fetch.ts'
import { Permit } from '../../src/job/permit.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts'

/** An HTTP server on loopback that ends with the test. */
export async function serve(
  t: TestContext,
  handler: RequestListener,
): Promise<{ origin: string; port: number; server: Server; sockets: Set<Socket> }> {
  const server = createServer(handler)
  // Idle sockets are the client's to close: Node's 5 s end while a machine stands still.
  server.keepAliveTimeout = 600_000
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, port, server, sockets }
}

/** A TCP server on loopback: what it answers, if anything, is the test's. */
export async function serveTcp(
  t: TestContext,
  onSocket: (socket: Socket) => void,
): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    // Otherwise the end of a connection would not be seen.
    socket.resume()
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, sockets }
}

/**
 * Time-outs of an engine whose requests are not to time out: longer than a machine stands still. (The sweep forgives one
 * standstill; what it finds unread afterwards takes more than one turn of the loop.)
 */
export const PATIENT = { connectTimeoutMs: 120_000, readTimeoutMs: 120_000, timeoutMs: 300_000 }

/** An engine whose platform `here` is `origin`, private, PATIENT unless said otherwise; stopped, by force, with the test. */
export function engineFor(
  t: TestContext,
  origin: string,
  options: Partial<FetchEngineOptions> = {},
  ports: Partial<FetchEnginePorts> = {},
): { engine: FetchEngine; metrics: Metrics } {
  const metrics = createMetrics()
  const engine = new FetchEngine(
    { platformOrigins: [{ origin, platform: 'here', private: true }], ...PATIENT, ...options },
    { metrics, log: createLog({ level: 'silent', pretty: false, secrets: [] }), ...ports },
  )
  t.after(() => engine.stop(AbortSignal.abort()))
  return { engine, metrics }
}

export function permit(deadlineMs = performance.now() + 60_000): Permit {
  return new Permit({ platform: 'here', endpoint: 'things', grant: 'g', deadlineMs })
}

export function get(url: string, more: Partial<FetchRequest> = {}): FetchRequest {
  return { method: 'GET', url: new URL(url), headers: {}, ...more }
}

export const never = new AbortController().signal

/** Names as a test wants them; others do not exist. Counts the questions. */
export function names(known: Record<string, readonly string[]>): NameService & { asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    query(name) {
      asked.push(name)
      const found = known[name]
      if (found === undefined) return Promise.reject(new Error(`no such name: ${name}`))
      return Promise.resolve(
        found.map((address): Address => ({ address, family: address.includes(':') ? 6 : 4 })),
      )
    },
    close() {},
  }
}

/** The value of a metric with exactly these labels, or undefined. */
export async function metricValue(
  metrics: Metrics,
  name: string,
  labels: Record<string, string>,
): Promise<number | undefined> {
  for (const metric of await metrics.registry.getMetricsAsJSON()) {
    for (const value of metric.values) {
      const named = 'metricName' in value && value.metricName !== undefined ? value.metricName : metric.name
      const same = Object.entries(labels).every(([key, wanted]) => value.labels[key] === wanted)
      if (named === `millrace_${name}` && same) return value.value
    }
  }
  return undefined
}
