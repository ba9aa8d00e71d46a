import { spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { LimitPlan } from '../src/limiter/plan.ts'
import { type Arrival, utilisation, violations } from '../test/limiter/oracle.ts'
import { type Contestant, ours, sequential, union } from './limiter/contestants.ts'
import { decisionCost, pureCost } from './limiter/cost.ts'

// Permits per second, calls to Redis per permit, use of the limits and violations, beside the usual ways; and what a decision costs
// inside Redis as endpoints grow. Contestants take turns on one Redis, which this starts itself unless it is given an address.
//
//   node native-bench/limiter.ts [--quick] [redis://…]

const quick = process.argv.includes('--quick')
const given = process.argv.find((argument) => argument.startsWith('redis://'))
const MEASURED_MS = quick ? 4_000 : 20_000
const WARM_MS = quick ? 2_000 : 5_000

/** The platform's bucket decides for most of the endpoints, a window for one of them. */
const PLAN: LimitPlan = {
  global: { rate: 1_000, burst: 1_000 },
  platforms: { p: { rate: 100, burst: 60 } },
  endpoints: {
    p: {
      a: { limit: 120, windowMs: 2_000 },
      b: { limit: 120, windowMs: 2_000 },
      c: { limit: 120, windowMs: 2_000 },
      d: { limit: 20, windowMs: 2_000 },
    },
  },
  defaultEndpoint: { limit: 60, windowMs: 60_000 },
  arrivalJitterMs: 200,
  grantTimeoutMs: 1_000,
}
const ENDPOINTS = Object.keys(PLAN.endpoints.p!)

interface Row {
  readonly contestant: string
  readonly daemons: number
  readonly waiters: number
  readonly permitsPerS: number
  readonly callsPerPermit: number
  readonly bucket: number
  /** Of the window that is used most. */
  readonly window: number
  readonly violations: number
  /** Of this process, for one permit. */
  readonly cpuUs: number
}

async function compete(contestant: Contestant, url: string, daemons: number, waiters: number): Promise<Row> {
  const admin = new Redis(url)
  await admin.flushall()
  const fleet = await Promise.all(Array.from({ length: daemons }, () => contestant.open(url, PLAN)))
  const arrivals: Arrival[] = []
  const over = new AbortController()
  const wait = async (n: number) => {
    const endpoint = ENDPOINTS[n % ENDPOINTS.length]!
    while (!over.signal.aborted) {
      const held = await fleet[n % daemons]!.acquire(endpoint, over.signal)
      held.sent()
      // On its way, and the reply back.
      await sleep(1 + Math.random() * 4)
      arrivals.push({ atMs: performance.now(), platform: 'p', endpoint, cost: 1 })
      await sleep(1 + Math.random() * 4)
      held.arrived()
    }
  }
  const all = Array.from({ length: waiters }, (_, n) => wait(n).catch(() => {}))
  await sleep(WARM_MS)
  const calls = async () => {
    const stats = await admin.info('commandstats')
    // What clients sent: scripts, and transactions as one.
    return [...stats.matchAll(/^cmdstat_(?:eval|evalsha|exec):calls=(\d+)/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    )
  }
  const before = {
    calls: await calls(),
    count: arrivals.length,
    cpu: process.cpuUsage(),
    atMs: performance.now(),
  }
  await sleep(MEASURED_MS)
  const spanMs = performance.now() - before.atMs
  const permits = arrivals.length - before.count
  const used = utilisation(PLAN, arrivals, { fromMs: before.atMs, toMs: before.atMs + spanMs })
  const cpu = process.cpuUsage(before.cpu)
  const made = (await calls()) - before.calls
  over.abort(new Error('over'))
  await Promise.all(fleet.map((daemon) => daemon.stop()))
  await Promise.all(all)
  admin.disconnect()
  return {
    contestant: contestant.name,
    daemons,
    waiters,
    permitsPerS: permits / (spanMs / 1000),
    callsPerPermit: made / permits,
    bucket: used.get('platform:p') ?? 0,
    window: Math.max(...[...used].map(([level, share]) => (level.startsWith('endpoint:') ? share : 0))),
    violations: violations(PLAN, arrivals).length,
    cpuUs: (cpu.user + cpu.system) / permits,
  }
}

function print(rows: readonly Row[]): void {
  console.log(
    '| | daemons | waiters | permits/s | calls a permit | bucket | window | violations | CPU µs a permit |',
  )
  console.log('|---|---|---|---|---|---|---|---|---|')
  for (const row of rows) {
    const percent = (share: number) => `${(share * 100).toFixed(1)}%`
    console.log(
      `| ${row.contestant} | ${row.daemons} | ${row.waiters} | ${row.permitsPerS.toFixed(1)} | ${row.callsPerPermit.toFixed(2)} | ` +
        `${percent(row.bucket)} | ${percent(row.window)} | ${row.violations} | ${Math.round(row.cpuUs)} |`,
    )
  }
}

async function start(): Promise<{ url: string; stop(): Promise<void> }> {
  if (given !== undefined) return { url: given, stop: async () => {} }
  const probe = net.createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as net.AddressInfo
  probe.close()
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], {
    stdio: 'ignore',
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

const server = await start()
try {
  const redis = new Redis(server.url, { retryStrategy: () => 50, maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const version = /redis_version:(\S+)/.exec(await redis.info('server'))?.[1]
  redis.disconnect()
  console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, Redis ${version}`)
  console.log(
    `\nBucket of 100/s, burst 60; three windows of 120 and one of 20 per 2 s (shown: the one that is used most); ${MEASURED_MS / 1000} s each\n`,
  )
  const rows: Row[] = []
  for (const [daemons, waiters] of [
    [1, 1],
    [1, 10],
    [1, 1_000],
    [3, 1_000],
  ] as const) {
    for (const contestant of [ours, union, sequential])
      rows.push(await compete(contestant, server.url, daemons, waiters))
  }
  print(rows)
  console.log('\nA decision inside Redis, by endpoints in the state and endpoints that are asked for\n')
  await decisionCost(server.url, quick ? 3 : 7)
  console.log('\nThe same decision in memory\n')
  pureCost()
} finally {
  await server.stop()
}
