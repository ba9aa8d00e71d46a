import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobRows, Row } from '../../src/job/row.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import type { BatcherLimits } from '../../src/timeseries/batcher.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { type Engine, execute, select } from '../../src/timeseries/engine.ts'
import { TimeSeriesSink } from '../../src/timeseries/row-sink.ts'

export const silent = createLog({ level: 'silent', pretty: false, secrets: [] })

/** Of a test that does a hundred things at the server: seconds here, and a minute where thirty processes want the processor. */

/** For waits that nobody aborts. */
export const never = new AbortController().signal

/** An engine with a database of its own, which is dropped after the test. */
export async function openOwnDatabase(t: TestContext, url: string): Promise<ClickHouseEngine> {
  const engine = new ClickHouseEngine({ url, database: `test_${randomUUID().replaceAll('-', '')}` })
  await engine.open()
  t.after(async () => {
    await engine.open()
    await execute(engine, `DROP DATABASE IF EXISTS ${engine.database} SYNC`)
    await engine.close()
  })
  return engine
}

/** A started sink that leaves its engine open, and is stopped after the test. */
export async function startSink(t: TestContext, engine: Engine, limits: Partial<BatcherLimits> = {}) {
  const metrics = createMetrics()
  const sink = new TimeSeriesSink({
    engine,
    metrics,
    log: silent,
    limits,
    keepEngineOpen: true,
    stopTimeoutMs: 2_000,
  })
  t.after(() => sink.stop())
  await sink.start()
  return { sink, metrics }
}

/** Midnight UTC, 20 days ago: well inside every table's TTL. */
export const DAY_MS = 86_400_000
export const START_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS - 20 * DAY_MS

export function jobRows(jobId: string, rows: readonly Row[], fields: Partial<JobRows> = {}): JobRows {
  const tsMs = fields.tsMs ?? START_MS
  return {
    jobId,
    platform: 'instagram',
    creatorId: `creator-${jobId}`,
    tsMs,
    observedAtMs: tsMs + 1_500,
    rows,
    ...fields,
  }
}

export function point(metric: string, value: number): Row {
  return { table: 'points', metric, value }
}

export async function count(engine: Engine, from: string): Promise<number> {
  const [row] = await select<{ n: number | string }>(engine, `SELECT count() AS n FROM ${from}`)
  return Number(row?.n)
}

/** True when the promise is settled by now. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending')
  const winner = await Promise.race([promise.catch(() => undefined), sleep(0).then(() => pending)])
  return winner !== pending
}
