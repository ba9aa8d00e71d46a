import { extname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isMarkedAsUntransferable } from 'node:worker_threads'
import { FixedQueue, Piscina } from 'piscina'
import { MillraceError, messageOf } from '../job/errors.ts'
import { onAbort } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { CrashMarks } from './crash-marks.ts'
import { Gate, type Pass } from './gate.ts'
import { Leash } from './leash.ts'
import { poolSizeWithin, UV_THREADS_DEFAULT } from './pool-size.ts'
import type { DecodeLimits, EncoderOptions, ResizeResult, ResizeTask } from './resize-task.ts'
import type { Variant } from './variants.ts'

export interface PicturePoolOptions {
  readonly variants: readonly Variant[]
  readonly limits: DecodeLimits
  readonly encoder: EncoderOptions
  /** The UV_THREADPOOL_SIZE in effect; default 4, as Node's. Bounds what is in the codec (see pool-size). */
  readonly uvThreads?: number
  /** How long `stop` waits for pictures in the codec. Default 10,000. */
  readonly drainTimeoutMs?: number
  /** A picture this long in the codec counts as stuck: native work cannot be aborted. Default 30,000. */
  readonly stuckAfterMs?: number
  /**
   * Told once when a picture is stuck. The composition root is expected to end the process by SIGKILL after its drain, since
   * even `process.exit()` would wait for the codec; the crash mark then makes the picture a suspect.
   */
  readonly onStuck?: (sha256: string) => void
}

export interface ResizeRequest {
  /** Transferred when they own their memory, copied otherwise: do not use them afterwards. */
  readonly bytes: Uint8Array
  readonly sha256: string
}

/** A picture that took the process along so often is refused at its next try. */
const CRASHES_MAX = 2
/**
 * Of a thread, in MB. 15 are alive; the rest is what the collector has not looked at, which is 35 KB a picture and would grow
 * over thousands of pictures to what V8 allows itself by default, 150 MB and more.
 */
const HEAP = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 96 }
const UTILISATION_WINDOW_MS = 5_000

/**
 * Worker threads that resize pictures; states: new → started → stopped. Every picture is marked before it is decoded. What is
 * in the codec is bounded below libuv's thread pool; the others wait here, in order, and may be aborted while they wait. An
 * aborted picture that is in the codec already keeps its place until the codec is done with it.
 */
export class PicturePool {
  readonly tasksInFlightMax: number
  readonly #options: PicturePoolOptions
  readonly #marks: CrashMarks
  readonly #metrics: Metrics
  readonly #log: Log
  readonly #threads: number
  readonly #gate: Gate
  readonly #leash = new Leash()
  readonly #stuck = new Set<string>()
  /** By SHA-256. */
  readonly #running = new Map<string, Promise<ResizeResult>>()
  #piscina: Piscina<ResizeTask, ResizeResult> | undefined
  #sampler: NodeJS.Timeout | undefined
  #busyMs = 0
  #busySinceMs = 0

  constructor(options: PicturePoolOptions, parts: { marks: CrashMarks; metrics: Metrics; log: Log }) {
    this.#options = options
    this.#marks = parts.marks
    this.#metrics = parts.metrics
    this.#log = parts.log
    const size = poolSizeWithin(options.uvThreads ?? UV_THREADS_DEFAULT)
    this.#threads = size.threads
    this.tasksInFlightMax = size.tasksInFlightMax
    this.#gate = new Gate({ countMax: size.tasksInFlightMax, weightMax: Number.POSITIVE_INFINITY })
  }

  /** True while a picture has been in the codec for longer than `stuckAfterMs`. */
  get stuck(): boolean {
    return this.#stuck.size > 0
  }

  /** Starts the marks and the threads. Rejects with MillraceError `PICTURES_UNAVAILABLE` when the native library does not load. */
  async start(): Promise<void> {
    if (this.#piscina !== undefined) return
    await this.#marks.start()
    await this.#restrict()
    // Beside this file, with its extension: .ts from a checkout, .js from a build.
    const worker = new URL(`./worker${extname(import.meta.url)}`, import.meta.url)
    const piscina = new Piscina<ResizeTask, ResizeResult>({
      filename: worker.href,
      minThreads: this.#threads,
      maxThreads: this.#threads,
      concurrentTasksPerWorker: Math.ceil(this.tasksInFlightMax / this.#threads),
      // Ours is the queue that waits and can be aborted; Piscina never has more than fits into its threads.
      maxQueue: this.tasksInFlightMax,
      taskQueue: new FixedQueue(),
      idleTimeout: Number.POSITIVE_INFINITY,
      // 'sync' would stop a thread's event loop between tasks to save microseconds; our tasks take milliseconds.
      atomics: 'disabled',
      resourceLimits: HEAP,
      // Else Piscina requires our module, and a thread that is ended in the last moments of that takes the whole process with it
      // (Node 24: an assertion in CreateRequiredModuleFacade; one in 1,600 that are ended while they load).
      execArgv: ['--no-experimental-require-module'],
      closeTimeout: 1_000,
      recordTiming: false,
    })
    piscina.on('error', (error) =>
      this.#log.error({ err: error }, 'a picture worker failed outside of a task'),
    )
    this.#piscina = piscina
    try {
      const version: unknown = await piscina.run(undefined as unknown as ResizeTask, { name: 'probe' })
      this.#log.info(
        { threads: this.#threads, in_flight: this.tasksInFlightMax, libvips: version },
        'picture pool started',
      )
    } catch (error) {
      await this.stop()
      throw unavailable(error)
    }
    this.#busySinceMs = performance.now()
    this.#sampler = setInterval(() => this.#sample(), UTILISATION_WINDOW_MS)
    this.#sampler.unref()
  }

  /** Loaded only now: who keeps no pictures needs no native library. */
  async #restrict(): Promise<void> {
    try {
      const { restrictLoaders } = await import('./loaders.ts')
      restrictLoaders()
    } catch (error) {
      await this.#marks.stop()
      throw unavailable(error)
    }
  }

  /** Waiting pictures are aborted; those in the codec get `drainTimeoutMs` to come out. What is stuck is left behind. */
  async stop(): Promise<void> {
    const piscina = this.#piscina
    if (piscina === undefined) return
    this.#piscina = undefined
    clearInterval(this.#sampler)
    this.#leash.pull(new DOMException('the picture pool has stopped', 'AbortError'))
    const { drainTimeoutMs = 10_000 } = this.#options
    await within(Promise.allSettled(this.#running.values()), drainTimeoutMs)
    // Ending a thread waits for its native work, too: a stuck one must not hold up the rest of the shut-down.
    if (!(await within(piscina.destroy(), 1_000)))
      this.#log.error('a picture is stuck in the codec and its thread is left behind')
    await this.#marks.stop()
  }

  /**
   * Resolves with the variants or with why there are none; rejects with the signal's reason when aborted. `onStarted` is called
   * when the wait for the codec is over.
   */
  async resize(request: ResizeRequest, signal: AbortSignal, onStarted?: () => void): Promise<ResizeResult> {
    const held = this.#leash.hold(signal)
    const entering = this.#gate.enter(1, held.signal)
    this.#metrics.picture_pool_queue_size.set(this.#gate.waiting)
    let pass: Pass
    try {
      pass = await entering
    } finally {
      held.release()
      this.#metrics.picture_pool_queue_size.set(this.#gate.waiting)
    }
    if (held.signal.aborted) {
      pass.leave()
      throw held.signal.reason
    }
    onStarted?.()
    // Somebody who has left may have asked for the same picture: it is in the codec still, and need not go there again.
    const work = this.#running.get(request.sha256) ?? this.#begin(request)
    void work.finally(() => pass.leave())
    return this.#waited(work, request.sha256, signal)
  }

  /** From here on the work runs to its end whatever the caller does; the caller only stops waiting for it. Never rejects. */
  #begin(request: ResizeRequest): Promise<ResizeResult> {
    const work = this.#marked(request)
      .catch((error: unknown): ResizeResult => {
        this.#log.error({ err: error, sha256: request.sha256 }, 'a picture worker failed')
        return { status: 'rejected', why: `the worker failed: ${messageOf(error, 200)}`, passing: true }
      })
      .finally(() => {
        this.#account()
        this.#running.delete(request.sha256)
      })
    this.#account()
    this.#running.set(request.sha256, work)
    return work
  }

  async #marked({ bytes, sha256 }: ResizeRequest): Promise<ResizeResult> {
    // Before anything is awaited: from now on a stop waits for this picture, and ends the threads only then.
    const piscina = this.#piscina
    if (piscina === undefined) throw new Error('the picture pool is not running')
    const crashes = await this.#marks.begin(sha256)
    if (crashes >= CRASHES_MAX) {
      await this.#marks.end(sha256, 'not_tried')
      this.#log.error({ sha256, crashes }, 'picture refused: the process died each time it was decoded')
      return { status: 'rejected', why: `the process died ${crashes} times while it was being decoded` }
    }
    const { variants, limits, encoder } = this.#options
    const own = ownMemory(bytes)
    const watchdog = setTimeout(() => this.#tooLong(sha256), this.#options.stuckAfterMs ?? 30_000)
    watchdog.unref()
    try {
      return await piscina.run({ bytes: own, variants, limits, encoder }, { transferList: [own.buffer] })
    } finally {
      clearTimeout(watchdog)
      this.#stuck.delete(sha256)
      await this.#marks.end(sha256, 'survived')
    }
  }

  /** The caller's view: the result, or the end of its patience, whichever is first. */
  async #waited(work: Promise<ResizeResult>, sha256: string, signal: AbortSignal): Promise<ResizeResult> {
    const { promise, resolve, reject } = Promise.withResolvers<ResizeResult>()
    const aborted = () => reject(signal.reason)
    const forget = onAbort(signal, aborted)
    const { timeoutMs } = this.#options.limits
    const timer = setTimeout(() => {
      this.#log.warn({ sha256, timeout_ms: timeoutMs }, 'a picture took too long in the codec')
      resolve({ status: 'rejected', why: `took longer than ${timeoutMs} ms to resize` })
    }, timeoutMs)
    void work.then(resolve)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      forget()
    }
  }

  #tooLong(sha256: string): void {
    this.#stuck.add(sha256)
    this.#log.fatal({ sha256 }, 'a picture is stuck in the codec; native work cannot be aborted')
    this.#options.onStuck?.(sha256)
  }

  /** Adds up the places' busy time, whenever their number changes. */
  #account(): void {
    const nowMs = performance.now()
    this.#busyMs += (nowMs - this.#busySinceMs) * Math.min(this.#running.size, this.tasksInFlightMax)
    this.#busySinceMs = nowMs
  }

  #sample(): void {
    this.#account()
    const ratio = this.#busyMs / (UTILISATION_WINDOW_MS * this.tasksInFlightMax)
    this.#metrics.picture_pool_utilisation_ratio.set(Math.min(1, ratio))
    this.#busyMs = 0
  }
}

function unavailable(error: unknown): MillraceError {
  const what = `sharp does not load: ${messageOf(error, 300)}`
  const act = 'reinstall with optional dependencies for this platform'
  return new MillraceError('PICTURES_UNAVAILABLE', `${what}; ${act}.`, { cause: error })
}

/** The bytes in memory that can be transferred: as they are when nothing else shares it (Node's buffer pool does), else a copy. */
function ownMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes
  const alone =
    buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && !isMarkedAsUntransferable(buffer)
  return alone ? new Uint8Array(buffer) : new Uint8Array(bytes)
}

/** True when `work` ended, in whatever way, within the time. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const late = delay(ms, false, { signal: timer.signal }).catch(() => false)
  const done = work.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([done, late])
  } finally {
    timer.abort()
  }
}
