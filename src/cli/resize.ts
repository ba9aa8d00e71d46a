import { resolve } from 'node:path'
import type { Config } from '../config/schema.ts'
import { secretsOf } from '../config/secrets.ts'
import type { CrashMarks } from '../images/crash-marks.ts'
import { sha256Of } from '../images/digest.ts'
import { Gate, type Pass } from '../images/gate.ts'
import type { PicturePool } from '../images/pool.ts'
import { sniff } from '../images/sniff.ts'
import { checkVariants, keyOf } from '../images/variants.ts'
import { MillraceError } from '../job/errors.ts'
import { openPool } from '../parts/images.ts'
import { createLog } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { EXIT } from './exit.ts'
import {
  type FileReport,
  reportLines,
  reportObjects,
  summaryOf,
  type WrittenVariant,
} from './resize-report.ts'
import { readSource } from './resize-source.ts'
import { stemsOf, Targets } from './resize-target.ts'
import { uvThreadsOf } from './run.ts'
import { mayBeCutOff, say } from './say.ts'
import type { Terminal } from './terminal.ts'

export interface ResizeOptions {
  /** `-` is standard input. */
  readonly files: readonly string[]
  readonly out: string
  readonly overwrite: boolean
  readonly json: boolean
}

/** By hand nobody starts the process again: a picture that takes it along is seen to. The daemon's own marks are not touched. */
const NO_MARKS: CrashMarks = {
  begin: async () => 0,
  end: async () => {},
  start: async () => {},
  stop: async () => {},
}

/**
 * `millrace resize`: what the daemon would make of these files, by the same pool under the same bounds, written to a folder. One that
 * is rejected or cannot be read is told of, and the others go on; exit code 2 when one could not be read, else 1 when one was
 * rejected or not written.
 */
export async function resize(config: Config, options: ResizeOptions, terminal: Terminal): Promise<number> {
  const { files, out, overwrite, json } = options
  if (files.filter((file) => file === '-').length > 1) {
    throw new MillraceError('USAGE', 'resize: found - twice, expected one standard input', { kind: 'usage' })
  }
  checkVariants(config.images.variants)
  mayBeCutOff(terminal)
  const { stopping, stderr } = terminal
  const log = createLog({ level: 'error', pretty: stderr.isTTY === true, secrets: secretsOf(config) })
  const uvThreads = uvThreadsOf(terminal.env)
  const pool = openPool(config, {
    ...{ marks: NO_MARKS, metrics: createMetrics(), log, uvThreads },
    onStuck: () => {},
  })
  // Twice as many as are in the codec: one is read or written while another is resized.
  const gate = new Gate({ countMax: 2 * pool.tasksInFlightMax, weightMax: config.images.queued_bytes_max })
  const parts: Parts = { config, terminal, pool, targets: new Targets(out, overwrite, files) }
  const stems = stemsOf(files)
  const reports: FileReport[] = []
  const startMs = performance.now()
  await pool.start()
  const underWay = new Set<Promise<void>>()
  try {
    for (const [index, file] of files.entries()) {
      // What it weighs is known once it is read; until then as much as it may.
      const pass = await gate.enter(config.images.bytes_max, stopping)
      const work = resized(parts, { file, stem: stems[index] ?? file }, pass)
        .then(async (report) => {
          reports.push(report)
          for (const line of json ? reportObjects(report) : reportLines(report)) await say(terminal, line)
          if (report.status === 'unreadable')
            stderr.write(`millrace: resize: ${report.file}: ${report.why}\n`)
        })
        .finally(() => {
          pass.leave()
          underWay.delete(work)
        })
      underWay.add(work)
      work.catch(() => {})
    }
    await Promise.all(underWay)
  } catch (error) {
    if (!stopping.aborted) throw error
  } finally {
    await Promise.allSettled(underWay)
    await pool.stop()
  }
  const summary = summaryOf(reports, { folder: resolve(out), tookMs: performance.now() - startMs })
  const all = stopping.aborted ? `stopped: ${summary}` : summary
  if (json) stderr.write(`${all}\n`)
  else await say(terminal, all)
  // Native work that does not end: not even process.exit() would.
  if (pool.stuck) process.kill(process.pid, 'SIGKILL')
  if (reports.some(({ status }) => status === 'unreadable')) return EXIT.usage
  const isAll = reports.length === files.length && reports.every(isWhole)
  return isAll ? EXIT.done : EXIT.failed
}

interface Parts {
  readonly config: Config
  readonly terminal: Terminal
  readonly pool: PicturePool
  readonly targets: Targets
}

/** Rejects only when told to stop. */
async function resized(
  { config, terminal, pool, targets }: Parts,
  { file, stem }: { readonly file: string; readonly stem: string },
  pass: Pass,
): Promise<FileReport> {
  const signal = terminal.stopping
  const watch = stopwatch()
  const source = await readSource(file, {
    bytesMax: config.images.bytes_max,
    stdin: () => terminal.stdin,
    signal,
  })
  if (source.status !== 'bytes') return { file, ...source }
  const { bytes } = source
  pass.reweigh(bytes.length)
  const sniffed = sniff(bytes)
  const about = { bytes: bytes.length, sha256: await sha256Of(bytes) }
  const readMs = watch()
  let waitMs = 0
  const result = await pool.resize({ bytes, sha256: about.sha256 }, signal, () => {
    waitMs = watch()
  })
  if (result.status === 'rejected') return { file, ...about, ...result }
  pass.reweigh(result.made.reduce((sum, made) => sum + made.bytes.byteLength, 0))
  const variants = await Promise.all(
    result.made.map(async ({ variant, width, height, bytes }): Promise<WrittenVariant> => {
      const key = keyOf(about.sha256, variant)
      const name = `${stem}.${key.slice(key.lastIndexOf('/') + 1)}`
      const writing = stopwatch()
      const failed = await targets.write(name, bytes)
      const made = { variant: variant.name, key, width, height, bytes: bytes.byteLength }
      return { ...made, path: targets.pathOf(name), failed, writeMs: writing() }
    }),
  )
  const format = 'format' in sniffed ? sniffed.format : 'unknown'
  const { thumbhash, timings } = result
  return {
    file,
    status: 'made',
    ...about,
    format,
    thumbhash,
    variants,
    timings: { readMs, waitMs, ...timings },
  }
}

function isWhole(report: FileReport): boolean {
  return report.status === 'made' && report.variants.every(({ failed }) => failed === null)
}

/** Milliseconds since it was made, or since it was last asked. */
function stopwatch(): () => number {
  let startMs = performance.now()
  return () => {
    const nowMs = performance.now()
    const tookMs = nowMs - startMs
    startMs = nowMs
    return tookMs
  }
}
