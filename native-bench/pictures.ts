/**
 * The picture pool and the whole stage beside bare sharp: same sources (1080², about 320 KB), same variants (the defaults), same
 * number in flight; rounds in turn and short, so that what else runs meets all alike; medians.
 * `node native-bench/pictures.ts [--json] [--only stage] [--rounds 11] [--round-ms 600] [--s3]`, about 45 s. Beside it, in `pictures/`: rivals, quality,
 * sizing, uploads, memory.
 * Pictures per core-second is the figure that holds on a shared machine, `best` its least disturbed round; the target is 95%
 * of bare sharp with the same errands.
 *
 * - bare: what one writes without thinking further: a sharp pipeline for each variant, on the main thread.
 * - bare chained: one decode to raw, both variants from it, on the main thread.
 * - bare with its errands: the same, its source downloaded and its two variants written as plain files: what a stage cannot do without.
 * - pool: the worker threads, crash marks and thumbhash included.
 * - stage: from a loopback server in a process of its own to files in a folder (no flush to the disk: it is not its bench), or (`--s3`) to
 *   a real S3-compatible server, in a process of its own as well.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { Agent, request } from 'undici'
import { DEFAULT_ENCODER } from '../src/images/resize-task.ts'
import { Pictures } from '../src/images/stage.ts'
import { DEFAULT_VARIANTS } from '../src/images/variants.ts'
import type { Downloader } from '../src/job/fetch.ts'
import { FolderStore } from '../src/store/folder.ts'
import { S3Store } from '../src/store/s3.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import {
  DAEMON_ENV,
  LOG,
  machine,
  median,
  openBucket,
  openPool,
  rounded,
  SIZE,
  source,
} from './pictures/bench.ts'

interface Figures {
  readonly perSecond: number
  readonly perCoreSecond: number
}

interface Contestant {
  readonly name: string
  /** Makes one picture, whole. */
  one(): Promise<void>
  readonly inFlight: number
}

const SOURCES = 8
const ERRANDS = 'bare with its errands'

/** Serves `/<source>/<n>`: a source with `n` behind its end, so that every address has bytes of its own. */
async function serve(): Promise<void> {
  const sources = await Promise.all(Array.from({ length: SOURCES }, (_, seed) => source(seed)))
  const server = createServer((incoming, outgoing) => {
    const [, index, n] = incoming.url!.split('/')
    const head = sources[Number(index) % SOURCES]!
    const tail = Buffer.from(n!.padStart(16, '0'))
    outgoing.writeHead(200, { 'content-type': 'image/jpeg', 'content-length': head.length + tail.length })
    outgoing.write(head)
    outgoing.end(tail)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.send!((server.address() as AddressInfo).port)
}

class PlainDownloader implements Downloader {
  readonly #agent = new Agent({ connections: 30, pipelining: 1 })

  async download(url: URL, options: { signal: AbortSignal }) {
    const { statusCode, headers, body } = await request(url, {
      dispatcher: this.#agent,
      signal: options.signal,
    })
    return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()), durationMs: 0 }
  }

  close(): Promise<void> {
    return this.#agent.close()
  }
}

async function round({ one, inFlight }: Contestant, roundMs: number): Promise<Figures> {
  const endMs = performance.now() + roundMs
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  let done = 0
  const lane = async () => {
    while (performance.now() < endMs) {
      await one()
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  const { user, system } = process.cpuUsage(cpu)
  return {
    perSecond: (done * 1000) / (performance.now() - startMs),
    perCoreSecond: (done * 1e6) / (user + system),
  }
}

async function compare(port: number): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean' },
      only: { type: 'string' },
      rounds: { type: 'string', default: '11' },
      'round-ms': { type: 'string', default: '600' },
      s3: { type: 'boolean', default: false },
    },
  })
  const [rounds, roundMs] = [Number(values.rounds), Number(values['round-ms'])]
  sharp.concurrency(1)
  sharp.cache(false)
  const sources = await Promise.all(Array.from({ length: SOURCES }, (_, seed) => source(seed)))
  const next = () => sources[Math.floor(Math.random() * SOURCES)]!
  const jpeg = { quality: 85, optimiseCoding: DEFAULT_ENCODER.jpegOptimiseCoding }
  const safe = { failOn: 'warning', limitInputPixels: 50_000_000, autoOrient: true } as const
  const signal = new AbortController().signal

  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  const metrics = createMetrics()
  const pool = openPool(folder, DEFAULT_VARIANTS)
  const downloader = new PlainDownloader()
  const bucket = values.s3 ? await openBucket() : undefined
  const store =
    bucket === undefined
      ? new FolderStore({ folder: join(folder, 'objects'), flush: false })
      : new S3Store(bucket.where)
  const stage = new Pictures({ variants: DEFAULT_VARIANTS }, { downloader, store, pool, metrics, log: LOG })
  await stage.start()

  let served = 0
  const all: readonly Contestant[] = [
    {
      name: 'bare',
      inFlight: SIZE.tasksInFlightMax,
      async one() {
        const bytes = next()
        await sharp(bytes, safe).resize(800, 800, { fit: 'inside' }).jpeg(jpeg).toBuffer()
        await sharp(bytes, safe).resize(150, 150, { fit: 'cover' }).jpeg(jpeg).toBuffer()
      },
    },
    {
      name: 'bare chained',
      inFlight: SIZE.tasksInFlightMax,
      async one() {
        const resized = sharp(next(), safe).resize(800, 800, { fit: 'inside' }).raw()
        const { data, info } = await resized.toBuffer({ resolveWithObject: true })
        const raw = { width: info.width, height: info.height, channels: 3 as const }
        await sharp(data, { raw }).jpeg(jpeg).toBuffer()
        await sharp(data, { raw }).resize(150, 150, { fit: 'cover' }).jpeg(jpeg).toBuffer()
      },
    },
    {
      name: ERRANDS,
      inFlight: SIZE.tasksInFlightMax,
      async one() {
        const url = new URL(`http://127.0.0.1:${port}/${served}/${served++}`)
        const { body } = await downloader.download(url, { signal })
        const resized = sharp(body, safe).resize(800, 800, { fit: 'inside' }).raw()
        const { data, info } = await resized.toBuffer({ resolveWithObject: true })
        const raw = { width: info.width, height: info.height, channels: 3 as const }
        const full = await sharp(data, { raw }).jpeg(jpeg).toBuffer()
        const thumb = await sharp(data, { raw }).resize(150, 150, { fit: 'cover' }).jpeg(jpeg).toBuffer()
        await writeFile(join(folder, `${served}-full.jpg`), full)
        await writeFile(join(folder, `${served}-thumb.jpg`), thumb)
      },
    },
    {
      name: 'pool',
      inFlight: SIZE.tasksInFlightMax,
      async one() {
        const made = await pool.resize(
          { bytes: Buffer.from(next()), sha256: randomBytes(32).toString('hex') },
          signal,
        )
        if (made.status === 'rejected') throw new Error(made.why)
      },
    },
    {
      name: 'stage',
      inFlight: 16,
      async one() {
        const url = `http://127.0.0.1:${port}/${served}/${served++}`
        const outcome = await stage.process({ url, subject: 'avatar' }, signal)
        if (outcome.status === 'rejected') throw new Error(outcome.why)
      },
    },
  ]
  const contestants = all.filter(({ name }) => values.only === undefined || values.only === name)
  for (const contestant of contestants) await round(contestant, 500)
  const figures = contestants.map(() => [] as Figures[])
  const loopDelayMs: number[] = []
  const idleDelayMs: number[] = []
  for (let index = 0; index < rounds; index++) {
    const idle = monitorEventLoopDelay({ resolution: 1 })
    idle.enable()
    await sleep(roundMs)
    idle.disable()
    idleDelayMs.push(idle.percentile(99) / 1e6)
    for (const [which, contestant] of contestants.entries()) {
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      figures[which]!.push(await round(contestant, roundMs))
      delay.disable()
      if (contestant.name === 'stage') loopDelayMs.push(delay.percentile(99) / 1e6)
    }
  }
  await stage.stop()
  await downloader.close()
  await store.stop()
  await bucket?.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 10 })

  const errands = contestants.findIndex(({ name }) => name === ERRANDS)
  const rows = contestants.map(({ name }, which) => {
    const perCoreSecond = figures[which]!.map((one) => one.perCoreSecond)
    const against = (other: number) =>
      rounded(median(perCoreSecond.map((value, index) => value / figures[other]![index]!.perCoreSecond)), 3)
    return {
      name,
      per_second: rounded(median(figures[which]!.map((one) => one.perSecond))),
      per_core_second: rounded(median(perCoreSecond)),
      best: rounded(Math.max(...perCoreSecond)),
      to_bare: against(0),
      ...(errands < 0 ? {} : { to_errands: against(errands) }),
    }
  })
  const sourceBytes = Math.round(sources.reduce((sum, { length }) => sum + length, 0) / SOURCES)
  const result = {
    machine: machine(),
    sourceBytes,
    size: SIZE,
    rows,
    stageLoopDelayP99Ms: rounded(median(loopDelayMs)),
    idleLoopDelayP99Ms: rounded(median(idleDelayMs)),
    huffman: await huffman(sources),
  }
  if (values.json === true) console.log(JSON.stringify(result, null, 2))
  else {
    console.log(`${result.machine}; sources of ${sourceBytes} bytes; ${rounds} rounds of ${roundMs} ms`)
    console.table(rows)
    console.log(
      `event loop delay in the stage, p99: ${result.stageLoopDelayP99Ms} ms; of a loop with nothing to do: ${result.idleLoopDelayP99Ms} ms`,
    )
    console.table(result.huffman)
  }
}

/** What optimal Huffman tables cost and save: the decision behind `jpegOptimiseCoding`. */
async function huffman(sources: readonly Buffer[]) {
  const pixels = await Promise.all(
    sources.map((bytes) =>
      sharp(bytes).resize(800, 800, { fit: 'inside' }).raw().toBuffer({ resolveWithObject: true }),
    ),
  )
  const costs = { false: [] as number[], true: [] as number[] }
  const bytes = { false: 0, true: 0 }
  for (let index = 0; index < 5; index++) {
    for (const optimiseCoding of [false, true]) {
      const name = `${optimiseCoding}` as const
      const cpu = process.cpuUsage()
      let written = 0
      for (const { data, info } of pixels) {
        const raw = { width: info.width, height: info.height, channels: 3 as const }
        written += (await sharp(data, { raw }).jpeg({ quality: 85, optimiseCoding }).toBuffer()).length
      }
      const { user, system } = process.cpuUsage(cpu)
      costs[name].push((user + system) / 1000 / pixels.length)
      bytes[name] = written / pixels.length
    }
  }
  return (['false', 'true'] as const).map((name) => ({
    optimiseCoding: name,
    encode_cpu_ms: Math.round(median(costs[name]) * 100) / 100,
    bytes: Math.round(bytes[name]),
  }))
}

/** libuv reads its size once, at the first use: the comparison runs in a process that was started with it. */
async function lead(): Promise<void> {
  const file = fileURLToPath(import.meta.url)
  const server: ChildProcess = fork(file, [], { env: { ...process.env, MILLRACE_BENCH_ROLE: 'server' } })
  const [port] = (await once(server, 'message')) as [number]
  const env = { ...process.env, ...DAEMON_ENV }
  const comparing = fork(file, process.argv.slice(2), {
    env: { ...env, MILLRACE_BENCH_ROLE: `compare:${port}` },
  })
  const [code] = (await once(comparing, 'exit')) as [number | null]
  server.kill()
  process.exitCode = code ?? 1
}

const [role, argument] = (process.env.MILLRACE_BENCH_ROLE ?? '').split(':')
if (role === 'server') await serve()
else if (role === 'compare') await compare(Number(argument))
else await lead()
