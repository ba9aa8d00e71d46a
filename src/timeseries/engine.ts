import type { BaseResultSet, ClickHouseClient } from '@clickhouse/client'
import { MillraceError, messageOf, ServiceAwayError } from '../job/errors.ts'

/**
 * The engine that holds the time series: a ClickHouse server, or the same engine inside this process (chDB). Both take the
 * same SQL through the same client type. Unqualified table names mean tables of `database`.
 *
 * States: closed → open() → open → close() → closed. `write` and `read` exist only while open.
 */
export interface Engine {
  readonly name: EngineName
  readonly database: string
  /** The cluster whose nodes hold the tables between them; undefined: one server, or the embedded engine. */
  readonly cluster?: string | undefined
  /** For inserts and DDL. Throws while the engine is closed. */
  readonly write: ClickHouseClient
  /** For queries: on chDB a client is serial, so reading never waits for an insert. Throws while the engine is closed. */
  readonly read: ClickHouseClient
  /**
   * Connects, proves that the credentials are good, and creates the database when it is not there. Idempotent.
   * Rejects with ServiceAwayError when nothing answers, with MillraceError when the answer is a refusal. With
   * `create: false` nothing is made, and a database that is not there is the MillraceError `DATABASE_MISSING`.
   */
  open(options?: OpenOptions): Promise<void>
  /** Rejects with ServiceAwayError or MillraceError when the engine does not answer a query. */
  ping(signal?: AbortSignal): Promise<void>
  /** Idempotent. Queries that run are cut off. */
  close(): Promise<void>
}

export interface OpenOptions {
  /** Default true. */
  readonly create?: boolean
}

export type EngineName = 'clickhouse' | 'chdb'

export interface QueryOptions {
  readonly signal?: AbortSignal | undefined
  /** Seconds after which the engine gives the query up by itself; needed on chDB, where an abort only stops the waiting. */
  readonly executionTimeS?: number
}

/** What a dashboard may cost at most; anything longer is a mistake in the query. */
const EXECUTION_TIME_S = 30

interface SelectOptions extends QueryOptions {
  readonly settings?: string
}

/**
 * Runs a SELECT and returns its rows as objects; integers beyond 2^53 are rounded, `selectLines` keeps them. `params` are bound
 * by the engine (`{name:Type}`), never pasted; pass moments as `sqlTime` strings. The statement must not have SETTINGS of its own:
 * `settings` are appended to its text, because `clickhouse_settings` would outlive the query on chDB.
 */
export function select<Row>(
  engine: Engine,
  sql: string,
  params: Readonly<Record<string, unknown>> = {},
  options: SelectOptions = {},
): Promise<Row[]> {
  return ask(engine, sql, params, options, (result) => result.json<Row>())
}

/** Runs a SELECT and returns its rows as the engine wrote them, each a JSON object. */
export async function selectLines(engine: Engine, sql: string): Promise<string[]> {
  const text = await ask(engine, sql, {}, {}, (result) => result.text())
  return text.split('\n').filter((line) => line !== '')
}

async function ask<Answer>(
  engine: Engine,
  sql: string,
  params: Readonly<Record<string, unknown>>,
  options: SelectOptions,
  read: (result: BaseResultSet<unknown, 'JSONEachRow'>) => Promise<Answer>,
): Promise<Answer> {
  const limit = `max_execution_time = ${options.executionTimeS ?? EXECUTION_TIME_S}`
  const settings = options.settings === undefined ? limit : `${limit}, ${options.settings}`
  try {
    const result = await engine.read.query({
      query: `${sql}\nSETTINGS ${settings}`,
      query_params: params,
      format: 'JSONEachRow',
      ...(options.signal === undefined ? {} : { abort_signal: options.signal }),
    })
    return await read(result)
  } catch (error) {
    options.signal?.throwIfAborted()
    throw translateEngineError(engine, error, 'A query')
  }
}

/** Runs a statement without a result: DDL, SYSTEM. */
export async function execute(engine: Engine, sql: string, signal?: AbortSignal): Promise<void> {
  try {
    await engine.write.command({ query: sql, ...(signal === undefined ? {} : { abort_signal: signal }) })
  } catch (error) {
    signal?.throwIfAborted()
    throw translateEngineError(engine, error, 'A statement')
  }
}

/** A moment as every time column and parameter takes it: `2026-11-21 00:40:35.123`, UTC, with its milliseconds. */
export function sqlTime(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 23)
}

/** Codes of ClickHouse's ErrorCodes.cpp by which the engine refuses us: credentials, rights. */
const REFUSAL_CODES: ReadonlySet<string> = new Set([
  '192', // UNKNOWN_USER
  '193', // WRONG_PASSWORD
  '194', // REQUIRED_PASSWORD
  '497', // ACCESS_DENIED
  '516', // AUTHENTICATION_FAILED
])

/** UNKNOWN_DATABASE. */
export const UNKNOWN_DATABASE = '81'

/**
 * The code of an error that the engine itself reported, or undefined: the connection failed. Not by `instanceof`: the HTTP
 * client and chDB throw a ClickHouseError each of their own. Node's codes are words (`ECONNREFUSED`), these are digits.
 */
export function engineCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  return /^\d+$/.test(error.code) ? error.code : undefined
}

/** Says in one line what went wrong at the engine, and which exit code it deserves. Our own errors pass through. */
export function translateEngineError(
  engine: Pick<Engine, 'name'>,
  error: unknown,
  what: string,
): MillraceError {
  if (error instanceof MillraceError) return error
  const code = engineCode(error)
  const text = messageOf(error, 500)
  if (code === undefined) {
    return new ServiceAwayError(
      'clickhouse',
      `${what} got no answer from ${nameOf(engine)}: ${causeOf(error)}`,
      {
        cause: error,
      },
    )
  }
  if (REFUSAL_CODES.has(code)) {
    return new MillraceError(
      'CLICKHOUSE_REFUSED',
      `ClickHouse refuses us (code ${code}): ${text} Check clickhouse.username, clickhouse.password and the user's rights.`,
      { cause: error },
    )
  }
  return new MillraceError(
    'CLICKHOUSE_FAILED',
    `${what} failed at ${nameOf(engine)} (code ${code}): ${text}`,
    {
      cause: error,
    },
  )
}

function nameOf(engine: Pick<Engine, 'name'>): string {
  return engine.name === 'chdb' ? 'the embedded engine' : 'ClickHouse'
}

/** Node's connection errors may have an empty message and the facts in `code` or in an AggregateError's parts. */
function causeOf(error: unknown): string {
  const text = messageOf(error, 500)
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
  return text.includes(code) ? text : `${code} ${text}`
}

/** Database names are pasted into DDL, so only plain ones are taken. */
export function checkDatabaseName(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name)) return name
  throw new MillraceError(
    'DATABASE_NAME',
    `clickhouse.database=${JSON.stringify(name)}: expected a letter or _, then letters, digits or _, at most 64`,
    { kind: 'usage' },
  )
}

/** What open() rejects with when it may not create the database. */
export function databaseMissingError(database: string, where: string): MillraceError {
  return new MillraceError(
    'DATABASE_MISSING',
    `There is no database ${database} ${where}: millrace migrate creates it.`,
  )
}

/** Opens the engine and creates nothing. Resolves with false when the database is not there; rejects as open() does. */
export async function openExisting(engine: Engine): Promise<boolean> {
  try {
    await engine.open({ create: false })
    return true
  } catch (error) {
    if (error instanceof MillraceError && error.code === 'DATABASE_MISSING') return false
    throw error
  }
}

/** Cluster names are pasted into DDL as well. */
export function checkClusterName(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name)) return name
  throw new MillraceError(
    'CLUSTER_NAME',
    `clickhouse.cluster=${JSON.stringify(name)}: expected a letter or _, then letters, digits, _, . or -, at most 64`,
    { kind: 'usage' },
  )
}

/** What `write` and `read` throw while the engine is closed: a mistake in the order of start and stop. */
export function engineClosedError(): Error {
  return new Error('The time-series engine is not open; call open() first')
}
