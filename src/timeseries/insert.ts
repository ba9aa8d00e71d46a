import type { TableName } from '../job/row.ts'
import { type Engine, engineCode } from './engine.ts'
import { COLUMNS, INSERTED_INTO } from './tables.ts'

/** One insert: rows of one partition of one table. Repeating it means the same bytes. */
export interface Batch {
  readonly table: TableName
  readonly rows: number
  /** Lines of JSONCompactEachRow. */
  readonly text: string
}

/** `refused`: the engine will not take these rows, whenever they come. `message` is the engine's. */
export type Inserted =
  | { readonly status: 'stored' }
  | { readonly status: 'refused'; readonly message: string }

/**
 * The port of the batcher: stores a batch. Resolves when it is stored or refused for what it is; rejects with anything
 * when the engine is away, unable or unsure, which is a reason to repeat the same batch.
 */
export type Insert = (batch: Batch, signal: AbortSignal) => Promise<Inserted>

/** An insert of 10,000 rows takes 50 ms; one that takes this long is stuck. */
const INSERT_TIMEOUT_S = 30

/**
 * Codes of ClickHouse's ErrorCodes.cpp that are about the rows. Every other one (memory, disk, too many parts, read-only,
 * missing table, credentials) is about the place, passes or has to be mended there, and must never cost a row.
 */
const ROW_CODES: ReadonlySet<string> = new Set([
  '6', // CANNOT_PARSE_TEXT
  '25', // CANNOT_PARSE_ESCAPE_SEQUENCE
  '26', // CANNOT_PARSE_QUOTED_STRING
  '27', // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  '38', // CANNOT_PARSE_DATE
  '41', // CANNOT_PARSE_DATETIME
  '53', // TYPE_MISMATCH
  '69', // ARGUMENT_OUT_OF_BOUND
  '70', // CANNOT_CONVERT_TYPE
  '72', // CANNOT_PARSE_NUMBER
  '117', // INCORRECT_DATA
  '128', // TOO_LARGE_ARRAY_SIZE
  '130', // CANNOT_READ_ARRAY_FROM_TEXT
  '131', // TOO_LARGE_STRING_SIZE
  '321', // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  '349', // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  '467', // CANNOT_PARSE_BOOL
  '469', // VIOLATED_CONSTRAINT
])

/**
 * Inserts through an engine. The settings stand in the statement: `clickhouse_settings` would outlive it on chDB.
 *
 * `async_insert = 0`: we batch ourselves, and the acknowledgement must mean stored (26.x turns it on by default), and stored by
 * the views too: `creators_in` keeps nothing itself. No
 * `insert_deduplication_token`: a server may remember a token whose rows it lost, see migration 0005.
 */
export function createInsert(engine: Engine): Insert {
  return async (batch, signal) => {
    const settings = `async_insert = 0, materialized_views_ignore_errors = 0, max_execution_time = ${INSERT_TIMEOUT_S}`
    const table = INSERTED_INTO[batch.table] ?? batch.table
    const into = `INSERT INTO ${table} (${COLUMNS[batch.table].join(', ')})`
    try {
      await engine.write.command({
        query: `${into} SETTINGS ${settings} FORMAT JSONCompactEachRow\n${batch.text}`,
        abort_signal: signal,
      })
      return { status: 'stored' }
    } catch (error) {
      const code = engineCode(error)
      if (code === undefined || !ROW_CODES.has(code)) throw error
      return { status: 'refused', message: error instanceof Error ? error.message : String(error) }
    }
  }
}
