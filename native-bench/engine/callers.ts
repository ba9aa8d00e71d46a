import { Agent, request } from 'undici'
import { FetchEngine } from '../../src/fetch/engine.ts'
import { Permit } from '../../src/job/permit.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { type Contestant, loop } from './contestant.ts'
import { ADDRESS, checkReply, HEADERS, PLATFORM } from './work.ts'

/** What everything else is measured by: undici's own request function and connection pool, and nothing around it. */
export function bare(origin: string, sockets: number): Contestant {
  const agent = new Agent({
    connections: sockets,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 10_000,
    bodyTimeout: 10_000,
    keepAliveTimeout: 30_000,
    connect: { timeout: 5_000 },
  })
  const url = origin + ADDRESS
  return {
    round: loop(async () => {
      const reply = await request(url, { dispatcher: agent, headers: HEADERS })
      checkReply(reply.statusCode, (await reply.body.arrayBuffer()).byteLength)
    }),
    stop: () => agent.close(),
  }
}

/** The fetch engine alone: sockets, time-outs, address guard, breaker, metrics; permits out of thin air. */
export function fetchEngine(origin: string, sockets: number): Contestant {
  const fetcher = new FetchEngine(
    { platformOrigins: [{ origin, platform: PLATFORM, private: true }], socketsPerOrigin: sockets },
    { metrics: createMetrics(), log: createLog({ level: 'warn', pretty: false, secrets: [] }) },
  )
  const { signal } = new AbortController()
  const onArrived = () => {}
  return {
    round: loop(async () => {
      const permit = new Permit({
        platform: PLATFORM,
        endpoint: 'channel',
        grant: 'bench',
        deadlineMs: performance.now() + 5_000,
      })
      const call = { method: 'GET' as const, url: new URL(ADDRESS, origin), headers: HEADERS }
      const reply = await fetcher.fetch(call, permit, { signal, onArrived })
      checkReply(reply.status, reply.body.length)
    }),
    stop: () => fetcher.stop(),
  }
}
