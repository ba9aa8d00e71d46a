import { randomBytes } from 'node:crypto'
import { cpus, loadavg } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import sharp from 'sharp'
import { FileCrashMarks } from '../../src/images/crash-marks.ts'
import { PicturePool } from '../../src/images/pool.ts'
import { poolSize } from '../../src/images/pool-size.ts'
import { DEFAULT_ENCODER, DEFAULT_LIMITS } from '../../src/images/resize-task.ts'
import type { Variant } from '../../src/images/variants.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { startS3 } from '../../test/services/s3.ts'

export const SIZE = poolSize()
export const LOG = createLog({ level: 'warn', pretty: false, secrets: [] })

/** What the images set, for child processes that shall run as the daemon does. */
export const DAEMON_ENV = { UV_THREADPOOL_SIZE: String(SIZE.uvThreads), MALLOC_ARENA_MAX: '2' }

/** A JPEG with grain in it, 319 KB at 1080². */
export async function source(seed: number, side = 1080): Promise<Buffer> {
  const noise = { type: 'gaussian' as const, mean: 110 + seed * 5, sigma: 45 }
  const grain = await sharp({ create: { width: side, height: side, channels: 3, background: '#777', noise } })
    .blur(1.1)
    .png()
    .toBuffer()
  return sharp(grain).jpeg({ quality: 85 }).toBuffer()
}

/** A pool as the daemon has it. */
export function openPool(folder: string, variants: readonly Variant[]): PicturePool {
  const marks = new FileCrashMarks({ path: `${folder}/marks`, slots: SIZE.tasksInFlightMax, log: LOG })
  const options = { variants, limits: DEFAULT_LIMITS, encoder: DEFAULT_ENCODER, uvThreads: SIZE.uvThreads }
  return new PicturePool(options, { marks, metrics: createMetrics(), log: LOG })
}

/** A bucket on a real S3-compatible server: the one at `address` (`http://key:secret@host:port`), or one in a process of its own. */
export async function openBucket(address?: string) {
  const server = address === undefined ? await startS3() : undefined
  const { origin, username, password } = new URL(address ?? server!.address)
  const credentials = {
    accessKeyId: decodeURIComponent(username),
    secretAccessKey: decodeURIComponent(password),
  }
  const bucket = `millrace-bench-${randomBytes(6).toString('hex')}`
  const where = { endpoint: origin, region: 'us-east-1', credentials }
  const client = new S3Client({ ...where, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return { where: { ...where, bucket }, stop: async () => void (await server?.stop()) }
}

export interface Spent {
  readonly done: number
  readonly wallMs: number
  /** Of this process, all of its threads. */
  readonly cpuMs: number
  readonly loopP50Ms: number
  readonly loopP99Ms: number
}

/** Keeps `inFlight` calls of `one` under way until `more` says no, then waits for the last. */
export async function spend(
  inFlight: number,
  more: (done: number, elapsedMs: number) => boolean,
  one: () => Promise<unknown>,
): Promise<Spent> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  let [begun, done] = [0, 0]
  const lane = async () => {
    while (more(begun, performance.now() - startMs)) {
      begun++
      await one()
      done++
    }
  }
  delay.enable()
  await Promise.all(Array.from({ length: inFlight }, lane))
  delay.disable()
  const { user, system } = process.cpuUsage(cpu)
  return {
    done,
    wallMs: performance.now() - startMs,
    cpuMs: (user + system) / 1000,
    loopP50Ms: delay.percentile(50) / 1e6,
    loopP99Ms: delay.percentile(99) / 1e6,
  }
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function rounded(value: number, digits = 1): number {
  return Math.round(value * 10 ** digits) / 10 ** digits
}

export function machine(): string {
  const [one] = loadavg()
  const model = cpus()[0]?.model.trim()
  return `${cpus().length} × ${model}, Node ${process.version}, sharp ${sharp.versions.sharp}, load ${rounded(one ?? 0)}`
}

/** One object as JSON, or its rows as a table with the rest above. */
export function report(
  json: boolean,
  result: { readonly rows: readonly object[] } & Record<string, unknown>,
): void {
  if (json) {
    console.log(JSON.stringify(result, null, 2))
    return
  }
  const { rows, ...rest } = result
  for (const [name, value] of Object.entries(rest))
    console.log(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`)
  console.table(rows)
}
