import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './connection.ts'

/** What `users.ts` is told when it is forked. */
export interface Visit {
  readonly origin: string
  readonly users: number
  /** Users come in evenly over this time, which is not measured. */
  readonly arriveMs: number
  readonly seconds: number
  readonly thinkMs: readonly [number, number]
  /** Paths with how often each is asked for, as shares of one. */
  readonly paths: readonly { readonly share: number; readonly of: readonly string[] }[]
}

/** What it sends back. Times in ms. */
export interface Visited {
  readonly answers: number
  /** How many of them were kept, kept but old, or made: what `x-cache` said. */
  readonly states: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
  readonly meanMs: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly megabytes: number
  /** Of this process: shares of one core. */
  readonly cpu: number
  /** How late its own loop was: what an answer's time may hold of it. */
  readonly loopMeanMs: number
  readonly loopP99Ms: number
}

/**
 * Virtual users: each has a connection of its own, asks, reads the whole answer, thinks for a while, and asks again. What somebody
 * asks for follows popularity: the n-th of a list is asked for about 1/n as often as the first.
 */
async function visit({ origin, users, arriveMs, seconds, thinkMs, paths }: Visit): Promise<Visited> {
  const times: number[] = []
  const errors: Record<string, number> = {}
  const states: Record<string, number> = {}
  const loop = monitorEventLoopDelay({ resolution: 1 })
  let [bytes, measuring, over] = [0, false, false]
  const fail = (what: string) => {
    errors[what] = (errors[what] ?? 0) + 1
  }
  const ask = async (connection: Connection) => {
    const startedMs = performance.now()
    try {
      const reply = await connection.get(chosen(paths))
      if (reply.status !== 200) fail(String(reply.status))
      if (!measuring) return
      states[reply.state] = (states[reply.state] ?? 0) + 1
      bytes += reply.bytes
      times.push(performance.now() - startedMs)
    } catch (error) {
      fail(error instanceof Error ? `${error.name} ${error.message}` : String(error))
    }
  }
  const live = async (n: number) => {
    const connection = new Connection(origin)
    await sleep((n / users) * arriveMs)
    while (!over) {
      await ask(connection)
      await sleep(thinkMs[0] + Math.random() * (thinkMs[1] - thinkMs[0]))
    }
    connection.close()
  }
  const everybody = Array.from({ length: users }, (_, n) => live(n))
  await sleep(arriveMs + thinkMs[1])
  measuring = true
  loop.enable()
  const [cpu, startedMs] = [process.cpuUsage(), performance.now()]
  await sleep(seconds * 1000)
  measuring = false
  const used = process.cpuUsage(cpu)
  const lastedMs = performance.now() - startedMs
  loop.disable()
  over = true
  await Promise.all(everybody)
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(share * (times.length - 1))] ?? 0
  return {
    ...{ answers: times.length, states, errors },
    meanMs: times.reduce((sum, ms) => sum + ms, 0) / times.length,
    ...{ p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99), maxMs: at(1) },
    megabytes: bytes / 1e6,
    cpu: (used.user + used.system) / 1000 / lastedMs,
    loopMeanMs: loop.mean / 1e6,
    loopP99Ms: loop.percentile(99) / 1e6,
  }
}

function chosen(paths: Visit['paths']): string {
  const turn = Math.random()
  const upTo = (index: number) => paths.slice(0, index + 1).reduce((sum, { share }) => sum + share, 0)
  const { of } = paths.find((_, index) => turn < upTo(index)) ?? paths.at(-1)!
  // The inverse of the sum of 1/n, which is near the logarithm.
  return of[Math.min(of.length - 1, Math.floor(of.length ** Math.random()) - 1)]!
}

process.once('message', (told: Visit) => {
  void visit(told).then((visited) => process.send!(visited, () => process.disconnect()))
})
