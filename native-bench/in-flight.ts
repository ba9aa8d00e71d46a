/**
 * Thousands of fetches in flight at once in one process, against an upstream (a process of its own) that answers each after two
 * seconds: memory for each beyond its body, and whether the loop stays free. First as it is at work, the next one sent whenever
 * one is answered; then all at once, as after a pause. `node native-bench/in-flight.ts [--json] [--fetches 5000]
 * [--delay-ms 2000] [--hold-ms 10000]`. Takes about 20 s. Exit code 1 when a target is missed.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpus } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { FetchEngine } from '../src/fetch/engine.ts'
import { Permit } from '../src/job/permit.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'

const TARGETS = { bytesPerFetch: 20_000, loopP99Ms: 20 }
const BODY_BYTES = 10_000
/** Handed over in one turn of the loop: as many as permits come in one answer of Redis, or fewer. */
const BATCH = 50
const LOOP_RESOLUTION_MS = 1

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

async function upstream(delayMs: number): Promise<void> {
  const body = Buffer.from(JSON.stringify({ items: [{ id: 'x'.repeat(BODY_BYTES - 25) }] }))
  let held = 0
  let most = 0
  const server = createServer((request, response) => {
    if (request.url === '/most') {
      response.end(String(most))
      most = 0
      return
    }
    held += 1
    most = Math.max(most, held)
    setTimeout(() => {
      held -= 1
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
      response.end(body)
    }, delayMs)
  })
  server.keepAliveTimeout = 60_000
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 })
  await once(server, 'listening')
  process.send?.((server.address() as AddressInfo).port)
  process.once('disconnect', () => process.exit())
}

interface Memory {
  readonly rssBytes: number
  readonly heapBytes: number
}

/** What is in use, not what waits to be collected. */
function memory(): Memory {
  collect()
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rssBytes: rss, heapBytes: heapUsed + external }
}

interface LoopDelay {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

function idle(): void {
  let told = () => ({ p50Ms: 0, p99Ms: 0, maxMs: 0 }) as LoopDelay
  process.on('message', (word) => {
    if (word === 'watch') told = watchLoop()
    else process.send?.(told())
  })
  process.once('disconnect', () => process.exit())
}

/** The delay of the event loop from here to the call of what is returned. */
function watchLoop(): () => LoopDelay {
  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  delay.enable()
  const ms = (nanoseconds: number) => Number(Math.max(0, nanoseconds / 1e6 - LOOP_RESOLUTION_MS).toFixed(1))
  return () => {
    delay.disable()
    return { p50Ms: ms(delay.percentile(50)), p99Ms: ms(delay.percentile(99)), maxMs: ms(delay.max) }
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      fetches: { type: 'string', default: '5000' },
      'delay-ms': { type: 'string', default: '2000' },
      'hold-ms': { type: 'string', default: '10000' },
    },
  })
  const fetches = Number(values.fetches)
  const delayMs = Number(values['delay-ms'])
  const holdMs = Number(values['hold-ms'])
  const child = fork(fileURLToPath(import.meta.url), ['upstream', String(delayMs)])
  const [port] = (await once(child, 'message')) as [number]
  const origin = `http://127.0.0.1:${port}`
  const idler = fork(fileURLToPath(import.meta.url), ['idle'])
  const engine = new FetchEngine(
    {
      platformOrigins: [{ origin, platform: 'bench', private: true }],
      // What a user with so slow an upstream configures: fetch.in_flight_max and fetch.sockets_per_origin.
      inFlightMax: fetches,
      socketsPerOrigin: fetches,
    },
    { metrics: createMetrics(), log: createLog({ level: 'warn', pretty: false, secrets: [] }) },
  )
  const mostInFlight = async () => Number(await (await fetch(`${origin}/most`)).text())
  const memoryPerFetch = (idle: Memory) => {
    const { rssBytes, heapBytes } = memory()
    return {
      rssMB: megabytes(rssBytes),
      rssBytesPerFetch: Math.round((rssBytes - idle.rssBytes) / fetches),
      bytesPerFetch: Math.round((heapBytes - idle.heapBytes) / fetches),
    }
  }
  const { signal } = new AbortController()
  const one = async (index: number) => {
    const permit = new Permit({
      platform: 'bench',
      endpoint: 'creator',
      grant: 'bench',
      deadlineMs: performance.now() + 20_000,
    })
    const url = new URL(`/creators/${index}?part=statistics`, origin)
    const headers = { accept: 'application/json', authorization: 'Bearer bench' }
    const { status, body } = await engine.fetch({ method: 'GET', url, headers }, permit, {
      signal,
      onArrived: () => {},
    })
    if (status !== 200 || body.length < BODY_BYTES - 100) throw new Error('a reply that is none')
  }

  // The process as it is when it has fetched before.
  await Promise.all(Array.from({ length: 20 }, (_, index) => one(index)))
  const before = memory()

  // At work. Callers begin one after the other, spread over the time of a reply, and so their replies are spread.
  const endMs = performance.now() + delayMs + holdMs
  let replies = 0
  const callers: Promise<void>[] = []
  const caller = async (index: number) => {
    while (performance.now() < endMs) {
      await one(index)
      replies += 1
    }
  }
  const rampMs = performance.now()
  while (callers.length < fetches) {
    const due = Math.min(fetches, Math.ceil(((performance.now() - rampMs) / delayMs) * fetches))
    while (callers.length < due) callers.push(caller(callers.length))
    await sleep(1)
  }
  const atFirst = memoryPerFetch(before)
  const repliesAtFirst = replies
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const atWork = watchLoop()
  idler.send('watch')
  await sleep(holdMs - 500)
  const workLoop = atWork()
  idler.send('tell')
  const [idleLoop] = (await once(idler, 'message')) as [LoopDelay]
  const elapsedMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  const working = {
    mostInFlight: await mostInFlight(),
    repliesPerSecond: Math.round(((replies - repliesAtFirst) / elapsedMs) * 1000),
    cpuShare: Number(((user + system) / 1000 / elapsedMs).toFixed(2)),
    loop: workLoop,
    // Of a process that does nothing: what other work on this machine costs everybody.
    idleLoop,
    // Last, because collecting what is not in use holds the loop.
    ...memoryPerFetch(before),
  }
  await Promise.all(callers)

  // All at once: their replies come all at once, too, and nothing spreads the work.
  const atBurst = watchLoop()
  const burst: Promise<void>[] = []
  for (let index = 0; index < fetches; index += 1) {
    burst.push(one(index))
    if (index % BATCH === BATCH - 1) await new Promise(setImmediate)
  }
  const sendingLoop = atBurst()
  // Idle time in between would flatter the percentiles.
  await Promise.race(burst)
  const atAnswers = watchLoop()
  await Promise.all(burst)
  const atOnce = { mostInFlight: await mostInFlight(), sending: sendingLoop, answers: atAnswers() }

  const after = memory()
  await engine.stop()
  child.disconnect()
  idler.disconnect()

  const report = {
    machine: `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}`,
    node: process.version,
    fetches,
    delayMs,
    bodyBytes: BODY_BYTES,
    rssMB: {
      before: megabytes(before.rssBytes),
      allInFlight: atFirst.rssMB,
      working: working.rssMB,
      // With what the collector had not got round to, at any time.
      most: megabytes(process.resourceUsage().maxRSS * 1024),
      after: megabytes(after.rssBytes),
    },
    allInFlight: atFirst,
    working,
    atOnce,
    targets: TARGETS,
    met: {
      inFlight: working.mostInFlight === fetches,
      bytesPerFetch: Math.max(atFirst.bytesPerFetch, working.bytesPerFetch) <= TARGETS.bytesPerFetch,
      loopP99Ms: working.loop.p99Ms < TARGETS.loopP99Ms,
    },
  }
  if (values.json) console.log(JSON.stringify(report))
  else console.dir(report, { depth: null })
  process.exitCode = Object.values(report.met).every(Boolean) ? 0 : 1
}

const megabytes = (bytes: number) => Math.round(bytes / 1e6)

if (process.argv[2] === 'upstream') await upstream(Number(process.argv[3]))
else if (process.argv[2] === 'idle') idle()
else await main()
