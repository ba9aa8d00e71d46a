/**
 * The fetch engine, and the whole pipeline around it, beside a bare `undici.request` loop: same agent options, same upstream (a process of its own), same
 * concurrency, rounds in turn, medians. `node native-bench/engine.ts [--json] [--rounds 7] [--round-ms 1500]
 * [--concurrency 256]`. Takes about 25 s. CPU per request is the figure that holds on a shared machine: requests per second
 * also measure what else runs there.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Agent, request } from 'undici'
import { FetchEngine } from '../src/fetch/engine.ts'
import { Permit } from '../src/job/permit.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import type { Contestant } from './contestant.ts'
import { pipeline } from './pipeline-contestant.ts'

export interface Figures {
  readonly requestsPerSecond: number
  readonly cpuMicrosPerRequest: number
}

const SOCKETS = 512
const PATH = '/v1/channels?id=UC1234567890&part=statistics'
const HEADERS = { accept: 'application/json' }

function bare(origin: string): Contestant {
  const agent = new Agent({
    connections: SOCKETS,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 10_000,
    bodyTimeout: 10_000,
    keepAliveTimeout: 30_000,
    maxOrigins: 100,
    connect: { timeout: 5_000 },
  })
  const url = origin + PATH
  return {
    name: 'undici.request',
    round: loop(async () => {
      const reply = await request(url, { dispatcher: agent, headers: HEADERS })
      const body = await reply.body.arrayBuffer()
      if (reply.statusCode !== 200 || body.byteLength < 1000) throw new Error('a reply that is none')
    }),
    stop: () => agent.close(),
  }
}

function engine(origin: string): Contestant {
  const fetcher = new FetchEngine(
    { platformOrigins: [{ origin, platform: 'bench', private: true }], socketsPerOrigin: SOCKETS },
    {
      metrics: createMetrics(),
      log: createLog({ level: 'warn', pretty: false, secrets: [] }),
    },
  )
  const { signal } = new AbortController()
  const onArrived = () => {}
  return {
    name: 'engine.fetch',
    round: loop(async () => {
      const permit = new Permit({
        platform: 'bench',
        endpoint: 'channel',
        grant: 'bench',
        deadlineMs: performance.now() + 5_000,
      })
      const reply = await fetcher.fetch(
        { method: 'GET', url: new URL(PATH, origin), headers: HEADERS },
        permit,
        { signal, onArrived },
      )
      if (reply.status !== 200 || reply.body.length < 1000) throw new Error('a reply that is none')
    }),
    stop: () => fetcher.stop(),
  }
}

/** A round of as many callers as there may be requests under way, each sending one after the other. */
function loop(call: () => Promise<void>): Contestant['round'] {
  return async ({ durationMs, concurrency }) => {
    const endMs = performance.now() + durationMs
    let requests = 0
    const caller = async () => {
      while (performance.now() < endMs) {
        await call()
        requests += 1
      }
    }
    await Promise.all(Array.from({ length: concurrency }, caller))
    return requests
  }
}

async function measure(
  contestant: Contestant,
  options: { durationMs: number; concurrency: number },
): Promise<Figures> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const requests = await contestant.round(options)
  const elapsedMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  return { requestsPerSecond: (requests / elapsedMs) * 1000, cpuMicrosPerRequest: (user + system) / requests }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

async function upstream(): Promise<void> {
  const body = Buffer.from(JSON.stringify({ kind: 'channelListResponse', items: [{ id: 'x'.repeat(950) }] }))
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
    response.end(body)
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.send?.((server.address() as AddressInfo).port)
  process.once('disconnect', () => process.exit())
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '7' },
      'round-ms': { type: 'string', default: '1500' },
      concurrency: { type: 'string', default: '256' },
    },
  })
  const rounds = Number(values.rounds)
  const options = { durationMs: Number(values['round-ms']), concurrency: Number(values.concurrency) }

  const child = fork(fileURLToPath(import.meta.url), ['upstream'])
  const [port] = (await once(child, 'message')) as [number]
  const origin = `http://127.0.0.1:${port}`
  const contestants: readonly Contestant[] = [
    bare(origin),
    engine(origin),
    pipeline(origin, PATH.split('?')[0] ?? PATH, options.concurrency),
  ]
  const figures = new Map(contestants.map(({ name }): [string, Figures[]] => [name, []]))
  for (const contestant of contestants) await contestant.round({ ...options, durationMs: 1_000 })
  for (let round = 0; round < rounds; round += 1) {
    // Each goes first as often as the others: what a round leaves behind (garbage, heat) falls on all alike.
    const turn = round % contestants.length
    for (const contestant of [...contestants.slice(turn), ...contestants.slice(0, turn)]) {
      figures.get(contestant.name)?.push(await measure(contestant, options))
    }
  }
  for (const contestant of contestants) await contestant.stop()
  child.disconnect()

  const results = [...figures].map(([name, all]) => ({
    name,
    requestsPerSecond: Math.round(median(all.map((each) => each.requestsPerSecond))),
    cpuMicrosPerRequest: Number(median(all.map((each) => each.cpuMicrosPerRequest)).toFixed(1)),
  }))
  const floor = results[0]!
  const report = {
    machine: `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}`,
    node: process.version,
    rounds,
    ...options,
    rssMB: Math.round(process.memoryUsage.rss() / 1e6),
    results: results.map((each) => ({
      ...each,
      requestsRatio: Number((each.requestsPerSecond / floor.requestsPerSecond).toFixed(2)),
      // Above 1: less CPU than the floor.
      cpuRatio: Number((floor.cpuMicrosPerRequest / each.cpuMicrosPerRequest).toFixed(2)),
    })),
  }
  if (values.json) console.log(JSON.stringify(report))
  else {
    console.log(
      `${report.machine}, Node ${report.node}, ${rounds} rounds of ${options.durationMs} ms, medians; ${report.rssMB} MB resident at the end`,
    )
    console.table(report.results)
  }
}

if (process.argv[2] === 'upstream') await upstream()
else await main()
