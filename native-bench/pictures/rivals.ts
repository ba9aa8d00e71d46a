/**
 * Pictures per core-second beside what else makes 800 px Lanczos JPEGs of quality 85: Pillow, pillow-simd (compiled with AVX2),
 * vipsthumbnail (Debian's libvips-tools), bare sharp and the pool. One variant (`--pair`: the thumb
 * too, made from it), same 8 files, two at a time each, rounds in turn.
 * `node native-bench/pictures/rivals.ts [--json] [--pair] [--rounds 7] [--pictures 40]`, about a minute after the first run, which makes
 * two Python environments. What cannot be had on this machine is left out, and named with why.
 */
import { type ChildProcessByStdio, fork, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { DEFAULT_VARIANTS } from '../../src/images/variants.ts'
import { pythonWith } from '../../test/services/python.ts'
import { DAEMON_ENV, machine, median, openPool, report, rounded, SIZE, source, spend } from './bench.ts'

const SOURCES = 8
const PROCESSES = 2

/** Makes so many pictures; answers the CPU time in ms. */
interface Rival {
  readonly name: string
  make(pictures: number): Promise<number>
  stop(): Promise<void>
}

/** Python processes that make pictures when told how many. */
class PythonRival implements Rival {
  readonly name: string
  readonly #children: readonly ChildProcessByStdio<Writable, Readable, null>[]
  readonly #lines: readonly AsyncIterator<string>[]

  constructor(name: string, python: string, args: readonly [how: string, folder: string], pair: boolean) {
    this.name = name
    const script = fileURLToPath(new URL('./rival.py', import.meta.url))
    this.#children = Array.from({ length: PROCESSES }, (_, index) =>
      spawn(python, [script, ...args, String(index), ...(pair ? ['pair'] : [])], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    )
    this.#lines = this.#children.map(({ stdout }) =>
      createInterface({ input: stdout })[Symbol.asyncIterator](),
    )
  }

  async make(pictures: number): Promise<number> {
    const spent = this.#children.map(async ({ stdin }, index) => {
      stdin.write(`${pictures / PROCESSES}\n`)
      const { value, done } = await this.#lines[index]!.next()
      if (done === true) throw new Error(`${this.name} has ended`)
      return Number(value)
    })
    return (await Promise.all(spent)).reduce((sum, ms) => sum + ms, 0)
  }

  async stop(): Promise<void> {
    for (const { stdin } of this.#children) stdin.end()
  }
}

async function compare(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      pair: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '7' },
      pictures: { type: 'string', default: '40' },
    },
  })
  const [rounds, pictures] = [Number(values.rounds), Number(values.pictures)]
  sharp.concurrency(1)
  sharp.cache(false)
  const folder = await mkdtemp(join(tmpdir(), 'millrace-rivals-'))
  const sources = await Promise.all(Array.from({ length: SOURCES }, (_, seed) => source(seed)))
  await Promise.all(sources.map((bytes, index) => writeFile(join(folder, `${index}.jpg`), bytes)))
  const pool = openPool(folder, values.pair ? DEFAULT_VARIANTS : [DEFAULT_VARIANTS[0]!])
  await pool.start()
  const rivals: Rival[] = []
  const missing: Record<string, string> = {}
  const add = async (name: string, open: () => Promise<Rival>) => {
    try {
      const rival = await open()
      // A thread runs its first 40 pictures or so before V8 has compiled what is around the codec: 20% slower.
      await rival.make(4 * pictures)
      rivals.push(rival)
    } catch (error) {
      missing[name] = (error as Error).message.slice(0, 200)
    }
  }
  const signal = new AbortController().signal
  const own = (name: string, one: (bytes: Buffer) => Promise<unknown>) =>
    add(name, async () => ({
      name,
      async make(count) {
        let next = 0
        const { cpuMs } = await spend(
          SIZE.tasksInFlightMax,
          (begun) => begun < count,
          () => one(sources[next++ % SOURCES]!),
        )
        return cpuMs
      },
      async stop() {},
    }))
  const safe = { failOn: 'warning', autoOrient: true } as const
  for (const [name, optimiseCoding] of [
    ['bare sharp', false],
    ['bare sharp, optimal Huffman tables', true],
  ] as const) {
    const jpeg = { quality: 85, optimiseCoding }
    await own(name, async (bytes) => {
      const full = sharp(bytes, safe).resize(800, 800, { fit: 'inside' })
      if (!values.pair) return full.jpeg(jpeg).toBuffer()
      const { data, info: raw } = await full.raw().toBuffer({ resolveWithObject: true })
      await sharp(data, { raw }).jpeg(jpeg).toBuffer()
      return sharp(data, { raw }).resize(150, 150).jpeg(jpeg).toBuffer()
    })
  }
  await own('pool', async (bytes) => {
    const made = await pool.resize(
      { bytes: new Uint8Array(bytes), sha256: randomBytes(32).toString('hex') },
      signal,
    )
    if (made.status === 'rejected') throw new Error(made.why)
  })
  await add(
    'Pillow',
    async () =>
      new PythonRival('Pillow', await pythonWith('pillow-1', ['pillow']), ['pillow', folder], values.pair),
  )
  await add('pillow-simd', async () => {
    const python = await pythonWith('pillow-simd-1', ['pillow-simd'], { CC: 'cc -mavx2' })
    return new PythonRival('pillow-simd', python, ['pillow', folder], values.pair)
  })
  await add(
    'vipsthumbnail',
    async () => new PythonRival('vipsthumbnail', 'python3', ['vipsthumbnail', folder], values.pair),
  )

  const perCoreSecond = rivals.map(() => [] as number[])
  for (let round = 0; round < rounds; round++) {
    for (const [index, rival] of rivals.entries())
      perCoreSecond[index]!.push((pictures * 1000) / (await rival.make(pictures)))
  }
  for (const rival of rivals) await rival.stop()
  await pool.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  const simd = rivals.findIndex(({ name }) => name === 'pillow-simd')
  const rows = rivals.map(({ name }, index) => ({
    name,
    per_core_second: rounded(median(perCoreSecond[index]!)),
    best: rounded(Math.max(...perCoreSecond[index]!)),
    to_bare: rounded(
      median(perCoreSecond[index]!.map((value, round) => value / perCoreSecond[0]![round]!)),
      3,
    ),
    ...(simd < 0
      ? {}
      : {
          to_pillow_simd: rounded(
            median(perCoreSecond[index]!.map((value, round) => value / perCoreSecond[simd]![round]!)),
            3,
          ),
        }),
  }))
  report(values.json, { machine: machine(), rounds, missing, rows })
}

if (process.env.MILLRACE_BENCH_ROLE === 'compare') await compare()
else {
  const env = { ...process.env, ...DAEMON_ENV, MILLRACE_BENCH_ROLE: 'compare' }
  const [code] = await once(fork(fileURLToPath(import.meta.url), process.argv.slice(2), { env }), 'exit')
  process.exitCode = Number(code ?? 1)
}
