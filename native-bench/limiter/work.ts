import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type Arrival, utilisation, type Violation, violations } from '../../test/limiter/oracle.ts'
import { clear, scriptCost } from './commands.ts'
import type { Contestant, Gate } from './gate.ts'
import { ENDPOINTS, LIMITS, PLATFORM } from './limits.ts'

export interface RunOptions {
  readonly url: string
  /** Of the same server, to count its calls. */
  readonly redis: Redis
  readonly daemons: number
  /** In all; each asks again as soon as its request has its reply. */
  readonly waiters: number
  /** Judged, but not measured: the bursts that everything begins with. */
  readonly leadMs: number
  readonly measureMs: number
}

export interface Figures {
  readonly permitsPerS: number
  /** By level, of what it sustains. */
  readonly utilisation: ReadonlyMap<string, number>
  readonly callsPerPermit: number
  readonly redisUsPerPermit: number
  /** Of this process: the limiter, its client, and the benchmark's own timers, which are the same for all. */
  readonly cpuUsPerPermit: number
  readonly arrivals: number
  /** Over the whole run, from its first arrival on. */
  readonly violations: readonly Violation[]
}

/** On the way to the platform, and its reply on the way back: each 1 to 5 ms. */
const transitMs = () => 1 + Math.floor(Math.random() * 5)

/** Keeps waiters at it for one run, and judges what arrived. */
export async function run(contestant: Contestant, options: RunOptions): Promise<Figures> {
  const { url, redis, daemons, waiters, leadMs, measureMs } = options
  const keyPrefix = `bench-${randomUUID()}`
  const gates: Gate[] = []
  const arrivals: Arrival[] = []
  const controller = new AbortController()
  const { signal } = controller
  try {
    for (let i = 0; i < daemons; i++) gates.push(await contestant.open({ url, keyPrefix }))
    const work = Promise.all(
      Array.from({ length: waiters }, (_, i) =>
        wait(gates[i % daemons]!, ENDPOINTS[Math.floor(i / daemons) % ENDPOINTS.length]!, arrivals, signal),
      ),
    )
    // Whoever fails ends the run.
    await Promise.race([work, sleep(leadMs)])
    const fromMs = performance.now()
    const cpuBefore = process.cpuUsage()
    const costBefore = await scriptCost(redis)
    await Promise.race([work, sleep(measureMs)])
    const toMs = performance.now()
    const cpu = process.cpuUsage(cpuBefore)
    const cost = await scriptCost(redis)
    controller.abort()
    await work
    const permits = arrivals.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).length
    return {
      permitsPerS: (permits * 1_000) / (toMs - fromMs),
      utilisation: utilisation(LIMITS, arrivals, { fromMs, toMs }),
      callsPerPermit: (cost.calls - costBefore.calls) / permits,
      redisUsPerPermit: (cost.us - costBefore.us) / permits,
      cpuUsPerPermit: (cpu.user + cpu.system) / permits,
      arrivals: arrivals.length,
      violations: violations(LIMITS, arrivals),
    }
  } finally {
    controller.abort()
    for (const gate of gates) await gate.stop()
    await clear(redis, keyPrefix)
  }
}

async function wait(gate: Gate, endpoint: string, arrivals: Arrival[], signal: AbortSignal): Promise<void> {
  try {
    while (!signal.aborted) {
      const pass = await gate.acquire(endpoint, signal)
      await sleep(transitMs())
      arrivals.push({ atMs: performance.now(), platform: PLATFORM, endpoint, cost: 1 })
      await sleep(transitMs())
      pass.replied()
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
