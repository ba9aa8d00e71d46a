/**
 * How near our 800 px pictures are to Pillow's Lanczos: SSIM (Gaussian window, sigma 1.5, as in the paper) of what the pool makes
 * against Pillow's reduction of the same photograph before any compression; beside it Pillow's own JPEG of the same quality,
 * since most of what is missing to 1 is JPEG's. `kernel` leaves JPEG out as far as it can: the brightness of ours at quality 100.
 * `node native-bench/pictures/quality.ts [--json] [--photographs <folder>]`, about 30 s. Photographs: those of Debian's
 * mate-backgrounds and ukui-wallpapers (fetched with apt-get, not installed) and of scikit-image; smaller ones than 800 px are left out.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { DEFAULT_VARIANTS } from '../../src/images/variants.ts'
import { cached } from '../../test/services/cache.ts'
import { pythonWith } from '../../test/services/python.ts'
import { machine, median, openPool, report, rounded } from './bench.ts'

const run = promisify(execFile)
const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, photographs: { type: 'string' } },
})

async function photographs(): Promise<readonly string[]> {
  if (values.photographs !== undefined) return jpegsBelow(values.photographs)
  const { folder } = await cached('photographs-1', async (made) => {
    await run('apt-get', ['download', 'mate-backgrounds', 'ukui-wallpapers'], { cwd: made })
    for (const name of await readdir(made)) await run('dpkg', ['-x', name, 'unpacked'], { cwd: made })
  })
  return jpegsBelow(folder)
}

async function jpegsBelow(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true })
  return names
    .filter((name) => /\.jpe?g$/i.test(name) && !/_\d+x/.test(name))
    .map((name) => join(folder, name))
}

const python = await pythonWith('quality-1', ['pillow', 'numpy', 'scikit-image'])
const script = fileURLToPath(new URL('./ssim.py', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'millrace-quality-'))
try {
  // Those of scikit-image are PNG as often as not: the script writes all as JPEG of quality 95, for both sides alike.
  const sources = join(folder, 'sources')
  await mkdir(sources)
  await run(python, [script, 'sources', sources, ...(await photographs())])
  const [full] = DEFAULT_VARIANTS
  const pool = openPool(folder, [full!, { ...full!, name: 'fine', quality: 100 }])
  await pool.start()
  const ours = join(folder, 'ours')
  for (const name of ['full', 'fine']) await mkdir(join(ours, name), { recursive: true })
  for (const path of await jpegsBelow(sources)) {
    const name = basename(path)
    const bytes = new Uint8Array(await readFile(path))
    const result = await pool.resize({ bytes, sha256: name.padEnd(64, '0') }, new AbortController().signal)
    if (result.status === 'rejected') throw new Error(`${name}: ${result.why}`)
    for (const { variant, bytes: made } of result.made) await writeFile(join(ours, variant.name, name), made)
  }
  await pool.stop()
  const { stdout } = await run(python, [script, 'compare', sources, ours], { maxBuffer: 1_000_000 })
  const rows = JSON.parse(stdout) as {
    photograph: string
    ours: number
    pillow_jpeg: number
    kernel: number
  }[]
  const summary = (['ours', 'pillow_jpeg', 'kernel'] as const).map((what) => {
    const all = rows.map((row) => row[what])
    return [what, `median ${rounded(median(all), 4)}, lowest ${Math.min(...all)}`]
  })
  report(values.json, { machine: machine(), photographs: rows.length, ...Object.fromEntries(summary), rows })
} finally {
  await rm(folder, { recursive: true, force: true, maxRetries: 10 })
}
