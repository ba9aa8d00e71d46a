import type { ClickHouseSettings } from '@clickhouse/client'
import { type Engine, engineCode, translateEngineError } from '../../timeseries/engine.ts'
import { ApiProblem } from '../problem.ts'

/** A query with its parameters, which the engine binds: no value is ever part of the text. */
export interface Question {
  readonly sql: string
  readonly params?: Readonly<Record<string, unknown>>
}

export interface AskOptions {
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

/** TIMEOUT_EXCEEDED. */
const TIMED_OUT = '159'

/**
 * Settings of every query. A server is told that nothing may be written, and to give a query up whose caller has left; on the
 * embedded engine settings would outlive the query, so there its text alone limits it.
 */
export function settingsOf(engine: Engine): ClickHouseSettings {
  return engine.name === 'chdb' ? {} : { readonly: '2', cancel_http_readonly_queries_on_client_close: 1 }
}

/**
 * Versions of a row share its month: FINAL may work month by month. For tables that are partitioned by time.
 *
 * They share the columns of the sorting key, too: conditions on those stand in PREWHERE, so that FINAL merges what they leave instead
 * of whole granules (a creator's numbers: half the time).
 */
export const BY_PARTITION = 'do_not_merge_across_partitions_select_final = 1'

/**
 * Runs a query and returns its rows. Rejects with the signal's reason, with ApiProblem `query_timeout`, or as the engine's
 * other callers know it.
 */
export async function ask<Row>(
  engine: Engine,
  { sql, params = {} }: Question,
  { signal, timeoutMs }: AskOptions,
  settings = '',
): Promise<Row[]> {
  const limits = `max_execution_time = ${Math.max(1, Math.ceil(timeoutMs / 1000))}`
  try {
    const result = await engine.read.query({
      query: `${sql}\nSETTINGS ${limits}${settings === '' ? '' : `, ${settings}`}`,
      query_params: params,
      format: 'JSONEachRow',
      abort_signal: signal,
      clickhouse_settings: settingsOf(engine),
    })
    return await result.json<Row>()
  } catch (error) {
    signal.throwIfAborted()
    if (engineCode(error) === TIMED_OUT) {
      throw new ApiProblem('query_timeout', `The query took longer than ${Math.ceil(timeoutMs / 1000)} s.`, {
        cause: error,
      })
    }
    throw translateEngineError(engine, error, 'A query of the API')
  }
}
