import { type Engine, execute } from '../../src/timeseries/engine.ts'
import { cpuMsOf } from './server-cpu.ts'

/** A question, and one of the ways to answer it. */
export interface Read {
  readonly question: string
  readonly from: string
  /** How many rows the answer has: those who answer the same question agree. */
  run(): Promise<number>
}

export interface ReadFigures {
  readonly question: string
  readonly from: string
  readonly rows: number
  readonly medianMs: number
  readonly p95Ms: number
  /** Of the server, mean of all rounds: what holds on a machine that others use too. NaN when its process is not known. */
  readonly cpuMs: number
}

/** What the engine keeps of earlier queries. The kernel's page cache is out of its reach, and ours: others use the machine. */
const CACHES = [
  'MARK CACHE',
  'PRIMARY INDEX CACHE',
  'UNCOMPRESSED CACHE',
  'INDEX MARK CACHE',
  'QUERY CONDITION CACHE',
]

async function dropCaches(engine: Engine): Promise<void> {
  for (const cache of CACHES) await execute(engine, `SYSTEM DROP ${cache}`)
}

/** Every read in turn, round after round, so that what else the machine does meets all alike; each with cold caches of the engine. */
export async function contest(
  engine: Engine,
  reads: readonly Read[],
  { rounds, pid }: { readonly rounds: number; readonly pid: number | undefined },
): Promise<ReadFigures[]> {
  const times = reads.map(() => [] as number[])
  const counts = reads.map(() => 0)
  const spent = reads.map(() => 0)
  const cpu = () => (pid === undefined ? Promise.resolve(Number.NaN) : cpuMsOf(pid))
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, read] of reads.entries()) {
      await dropCaches(engine)
      const before = await cpu()
      const startedMs = performance.now()
      counts[index] = await read.run()
      times[index]!.push(performance.now() - startedMs)
      spent[index]! += (await cpu()) - before
    }
  }
  return reads.map(({ question, from }, index) => ({
    ...{ question, from, rows: counts[index]! },
    ...{ medianMs: quantile(times[index]!, 0.5), p95Ms: quantile(times[index]!, 0.95) },
    cpuMs: spent[index]! / rounds,
  }))
}

/** The smallest value that so large a share does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN
}
