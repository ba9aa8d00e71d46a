import type { JobRows, RowSink } from '../job/row.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { BATCHER_LIMITS, Batcher, type BatcherLimits } from './batcher.ts'
import { encode } from './encode.ts'
import type { Engine } from './engine.ts'
import { createInsert } from './insert.ts'
import { type Migration, migrate } from './migrate.ts'
import type { Retention } from './retention.ts'

export interface TimeSeriesSinkOptions {
  readonly engine: Engine
  readonly metrics: Metrics
  readonly log: Log
  /** What differs from BATCHER_LIMITS. */
  readonly limits?: Partial<BatcherLimits>
  /** How long stop() waits for the engine to take what is buffered. Default 10,000. */
  readonly stopTimeoutMs?: number
  /** True when somebody else (a reader) closes the engine. Default false: stop() closes it. */
  readonly keepEngineOpen?: boolean
  /** Default: the files beside this code. */
  readonly migrations?: readonly Migration[]
  readonly retention?: Retention
  /** Milliseconds, monotonic. */
  readonly now?: () => number
}

/**
 * The RowSink of the daemon: rows go to ClickHouse, or to the engine inside this process, in batches.
 *
 * States: new → start() → writing → stop() → stopped, for good.
 */
export class TimeSeriesSink implements RowSink {
  readonly #engine: Engine
  readonly #log: Log
  readonly #limits: BatcherLimits
  readonly #stopTimeoutMs: number
  readonly #keepEngineOpen: boolean
  readonly #migrations: readonly Migration[] | undefined
  readonly #retention: Retention | undefined
  readonly #batcher: Batcher
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor(options: TimeSeriesSinkOptions) {
    this.#engine = options.engine
    this.#log = options.log
    this.#limits = { ...BATCHER_LIMITS, ...options.limits }
    this.#stopTimeoutMs = options.stopTimeoutMs ?? 10_000
    this.#keepEngineOpen = options.keepEngineOpen ?? false
    this.#migrations = options.migrations
    this.#retention = options.retention
    this.#batcher = new Batcher({
      insert: createInsert(options.engine),
      limits: this.#limits,
      metrics: options.metrics,
      log: options.log,
      now: options.now ?? (() => performance.now()),
    })
  }

  /** False while inserts fail. A failed batch is repeated until it is stored, so this finds its way back by itself. */
  get healthy(): boolean {
    return this.#batcher.healthy
  }

  /** Rows that were taken and are not acknowledged, batches in flight included. */
  get bufferedRows(): number {
    return this.#batcher.bufferedRows
  }

  /**
   * Opens the engine and brings the schema up to date. Idempotent; after a failure it may be called again. Rejects with
   * ServiceAwayError when the engine does not answer, with MillraceError when it, or the schema it holds, refuses us.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  async #start(): Promise<void> {
    await this.#engine.open()
    const applied = await migrate(this.#engine, {
      migrations: this.#migrations,
      retention: this.#retention,
    })
    if (applied.length > 0)
      this.#log.info({ database: this.#engine.database, applied }, 'schema brought up to date')
  }

  /** Sends what is buffered, for `stopTimeoutMs` at most, then closes the engine. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    await this.#batcher.stop(this.#stopTimeoutMs)
    if (!this.#keepEngineOpen) await this.#engine.close()
  }

  async write(rows: JobRows, signal: AbortSignal): Promise<void> {
    await this.#batcher.write(encode(rows, this.#limits), signal)
  }
}
