/**
 * Resident memory over many pictures through the pool: flat, or a leak. Sources of 100² to 1080²; as the daemon's image runs
 * (MALLOC_ARENA_MAX=2), with glibc's own default, and with jemalloc where Debian's libjemalloc2 is installed.
 * `node native-bench/pictures/memory.ts [--json] [--pictures 2000] [--only jemalloc]`; 20,000 take five minutes or so for each.
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { DEFAULT_VARIANTS } from '../../src/images/variants.ts'
import { DAEMON_ENV, machine, openPool, report, rounded, SIZE, source, spend } from './bench.ts'

const POINTS = 10
const JEMALLOC = '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2'
const SIDES = [100, 150, 320, 480, 640, 1080]

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    pictures: { type: 'string', default: '2000' },
    only: { type: 'string' },
  },
})

/** Sends its resident memory after each tenth, in MB. */
async function measure(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-memory-'))
  const sources = await Promise.all(SIDES.flatMap((side) => [1, 2].map((seed) => source(seed, side))))
  const pool = openPool(folder, DEFAULT_VARIANTS)
  await pool.start()
  const signal = new AbortController().signal
  let at = 0
  const one = async () => {
    const bytes = new Uint8Array(sources[at++ % sources.length]!)
    const result = await pool.resize({ bytes, sha256: randomBytes(32).toString('hex') }, signal)
    // On a machine that is busy otherwise a picture may run out of time.
    if (result.status === 'rejected') console.error(result.why)
  }
  await spend(SIZE.tasksInFlightMax, (begun) => begun < 100, one)
  for (let point = 0; point < POINTS; point++) {
    const count = Number(values.pictures) / POINTS
    await spend(SIZE.tasksInFlightMax, (begun) => begun < count, one)
    const { rss, heapTotal, external } = process.memoryUsage()
    process.send!([rss, heapTotal, external].map((bytes) => rounded(bytes / 1e6, 0)))
  }
  await pool.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 10 })
}

async function lead(): Promise<void> {
  const { MALLOC_ARENA_MAX: arenas, ...usual } = DAEMON_ENV
  const settings: Record<string, NodeJS.ProcessEnv> = {
    arenas: { MALLOC_ARENA_MAX: arenas },
    default: {},
    ...(existsSync(JEMALLOC) ? { jemalloc: { LD_PRELOAD: JEMALLOC } } : {}),
  }
  const rows: object[] = []
  for (const [name, more] of Object.entries(settings)) {
    if (values.only !== undefined && values.only !== name) continue
    const env = { ...process.env, ...usual, ...more, MILLRACE_BENCH_ROLE: 'measure' }
    const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2), { env })
    const points: (readonly [rss: number, heap: number, external: number])[] = []
    child.on('message', (point) => points.push(point as [number, number, number]))
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`ended with ${code}`)
    rows.push({
      allocator: name,
      rss_mb_after_each_tenth: points.map(([rss]) => rss).join(' '),
      main_heap_mb: points.map(([, heap]) => heap).join(' '),
      main_external_mb: points.map(([, , external]) => external).join(' '),
    })
  }
  report(values.json, { machine: machine(), pictures: Number(values.pictures), rows })
}

if (process.env.MILLRACE_BENCH_ROLE === 'measure') await measure()
else await lead()
