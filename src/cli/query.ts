import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import { longIntegerOf } from '../lib/long-integer.ts'
import { openEngine } from '../parts/timeseries.ts'
import { selectLines } from '../timeseries/engine.ts'
import { EXIT } from './exit.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'

/** `millrace query`: runs a SELECT on the database, embedded or not, and prints what comes back. */
export async function query(
  config: Config,
  options: { sql: string; json: boolean },
  terminal: Terminal,
): Promise<number> {
  if (!/^\s*(select|with|show|describe|explain)\b/i.test(options.sql)) {
    throw new MillraceError('USAGE', 'query: expected a SELECT (or WITH, SHOW, DESCRIBE, EXPLAIN)', {
      kind: 'usage',
    })
  }
  const engine = openEngine(config)
  try {
    // In a folder without one, or with a name that is wrong, an empty database would answer `no rows`.
    await engine.open({ create: false })
    const lines = await selectLines(engine, options.sql.replace(/;\s*$/, ''))
    if (options.json) {
      for (const line of lines) terminal.stdout.write(`${line}\n`)
      return EXIT.done
    }
    const rows = lines.map((line) => JSON.parse(line, exactly) as Record<string, unknown>)
    const names = Object.keys(rows[0] ?? {})
    const columns = names.map((title) => ({ title, numeric: isNumber(rows[0]?.[title]) }))
    const cells = rows.map((row) => names.map((name) => shown(row[name])))
    terminal.stdout.write(rows.length === 0 ? 'no rows\n' : `${table(columns, cells)}\n`)
    return EXIT.done
  } finally {
    await engine.close()
  }
}

/** A 64-bit integer that a double would round stays what it was. */
function exactly(_key: string, value: unknown, context?: { source?: string }): unknown {
  const digits = longIntegerOf(value, context)
  return digits === undefined ? value : BigInt(digits)
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'bigint'
}

/** Fractions with all their digits: an engagement rate of 0.0612 is not 0.06. */
function shown(value: unknown): string | number {
  if (typeof value === 'number' && !Number.isInteger(value))
    return value.toLocaleString('en-US', { maximumSignificantDigits: 15 })
  if (typeof value === 'number' || typeof value === 'string') return value
  if (typeof value === 'bigint') return value.toLocaleString('en-US')
  return (
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? `${inner}` : inner)) ?? ''
  )
}
