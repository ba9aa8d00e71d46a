/**
 * How many threads, pictures in the codec and libuv threads: the matrix behind src/images/pool-size.ts. Each row is a process of its
 * own (libuv reads its size once); rounds in turn. Beside the rate: event loop delay, and how long writing 100 KB takes meanwhile.
 * `node native-bench/pictures/sizing.ts [--json] [--rounds 3] [--round-ms 2000]`, about 90 s.
 *
 * "main": the same work on the main thread, as sharp is mostly used: no thread of ours, all JavaScript in one loop.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Piscina } from 'piscina'
import sharp from 'sharp'
import { DEFAULT_ENCODER, DEFAULT_LIMITS, type ResizeTask } from '../../src/images/resize-task.ts'
import { DEFAULT_VARIANTS } from '../../src/images/variants.ts'
import resize from '../../src/images/worker.ts'
import { machine, median, quantile, report, rounded, source, spend } from './bench.ts'

interface Configuration {
  /** 0: the main thread. */
  readonly threads: number
  readonly inFlight: number
  readonly uvThreads: number
}

interface Measured {
  readonly perSecond: number
  readonly perCoreSecond: number
  readonly loopP50Ms: number
  readonly loopP99Ms: number
  readonly writeMs: readonly number[]
}

const cores = availableParallelism()
const CONFIGURATIONS: readonly Configuration[] = [
  { threads: 0, inFlight: 2 * cores, uvThreads: 4 },
  { threads: 0, inFlight: 2 * cores, uvThreads: 2 * cores + 4 },
  { threads: 0, inFlight: 8 * cores, uvThreads: 2 * cores + 4 },
  { threads: 1, inFlight: 2 * cores, uvThreads: 2 * cores + 4 },
  { threads: cores, inFlight: cores, uvThreads: 2 * cores + 4 },
  { threads: cores, inFlight: 2 * cores, uvThreads: 4 },
  { threads: cores, inFlight: 2 * cores, uvThreads: 2 * cores + 4 },
  { threads: cores, inFlight: 4 * cores, uvThreads: 2 * cores + 4 },
  { threads: cores, inFlight: 4 * cores, uvThreads: 4 * cores + 4 },
  { threads: 2 * cores, inFlight: 2 * cores, uvThreads: 2 * cores + 4 },
]

/** Answers each message (ms) with what it measured for so long. */
async function measure({ threads, inFlight }: Configuration): Promise<void> {
  const sources = await Promise.all(Array.from({ length: 4 }, (_, seed) => source(seed)))
  const folder = await mkdtemp(join(tmpdir(), 'millrace-sizing-'))
  sharp.concurrency(1)
  sharp.cache(false)
  const piscina =
    threads === 0
      ? undefined
      : new Piscina<ResizeTask, unknown>({
          filename: new URL('../../src/images/worker.ts', import.meta.url).href,
          minThreads: threads,
          maxThreads: threads,
          concurrentTasksPerWorker: Math.ceil(inFlight / threads),
          atomics: 'disabled',
        })
  const one = () => {
    const bytes = new Uint8Array(sources[Math.floor(Math.random() * sources.length)]!)
    const task = { bytes, variants: DEFAULT_VARIANTS, limits: DEFAULT_LIMITS, encoder: DEFAULT_ENCODER }
    return piscina === undefined ? resize(task) : piscina.run(task, { transferList: [bytes.buffer] })
  }
  await spend(inFlight, (begun) => begun < 8, one)
  process.on('message', (forMs: number) => {
    void (async () => {
      const writeMs: number[] = []
      const ended = new AbortController()
      const writing = (async () => {
        for (; !ended.signal.aborted; await delay(20)) {
          const startMs = performance.now()
          await writeFile(join(folder, 'file'), Buffer.alloc(100_000))
          writeMs.push(performance.now() - startMs)
        }
      })()
      const { done, wallMs, cpuMs, loopP50Ms, loopP99Ms } = await spend(
        inFlight,
        (_, elapsedMs) => elapsedMs < forMs,
        one,
      )
      ended.abort()
      await writing
      const measured: Measured = {
        perSecond: (done * 1000) / wallMs,
        perCoreSecond: (done * 1000) / cpuMs,
        loopP50Ms,
        loopP99Ms,
        writeMs,
      }
      process.send!(measured)
    })()
  })
  process.on('disconnect', () => {
    void Promise.all([piscina?.destroy(), rm(folder, { recursive: true, force: true, maxRetries: 10 })]).then(
      () => process.exit(),
    )
  })
  process.send!('ready')
}

async function lead(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      'round-ms': { type: 'string', default: '2000' },
    },
  })
  const children: ChildProcess[] = []
  for (const configuration of CONFIGURATIONS) {
    const env = {
      ...process.env,
      MILLRACE_BENCH_ROLE: JSON.stringify(configuration),
      UV_THREADPOOL_SIZE: String(configuration.uvThreads),
      MALLOC_ARENA_MAX: '2',
    }
    const child = fork(fileURLToPath(import.meta.url), [], { env })
    await once(child, 'message')
    children.push(child)
  }
  const measured = children.map(() => [] as Measured[])
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [index, child] of children.entries()) {
      child.send(Number(values['round-ms']))
      const [answer] = (await once(child, 'message')) as [Measured]
      measured[index]!.push(answer)
    }
  }
  for (const child of children) child.disconnect()
  const rows = CONFIGURATIONS.map(({ threads, inFlight, uvThreads }, index) => {
    const of = (pick: (one: Measured) => number) => rounded(median(measured[index]!.map(pick)))
    return {
      threads: threads === 0 ? 'main' : threads,
      in_flight: inFlight,
      uv_threads: uvThreads,
      per_second: of((one) => one.perSecond),
      per_core_second: of((one) => one.perCoreSecond),
      loop_p50_ms: of((one) => one.loopP50Ms),
      loop_p99_ms: of((one) => one.loopP99Ms),
      write_p50_ms: of((one) => quantile(one.writeMs, 0.5)),
      write_p99_ms: of((one) => quantile(one.writeMs, 0.99)),
    }
  })
  report(values.json, { machine: machine(), rows })
}

const role = process.env.MILLRACE_BENCH_ROLE
if (role === undefined) await lead()
else await measure(JSON.parse(role) as Configuration)
