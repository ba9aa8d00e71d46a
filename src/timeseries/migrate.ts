import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { MillraceError } from '../job/errors.ts'
import { type Engine, execute, select } from './engine.ts'
import { PASSED_THROUGH } from './tables.ts'

/** One numbered SQL file, e.g. `0001_points.sql`. */
export interface Migration {
  readonly version: number
  readonly file: string
  readonly statements: readonly string[]
  /** SHA-256 of the text, line ends normalised. */
  readonly checksum: string
}

export interface SchemaState {
  /** The newest version that the database has; 0 when it is empty. */
  readonly version: number
  /** What migrate() would apply, oldest first. */
  readonly pending: readonly Migration[]
}

const FOLDER = new URL('./migrations/', import.meta.url)

/**
 * The checksum is part of the key: should two daemons ever apply different texts under one number, both stay visible.
 * Ten daemons that record the same text leave ten equal rows, which FINAL reads as one.
 */
const CREATE_LEDGER = `CREATE TABLE IF NOT EXISTS migrations
(
    version UInt32,
    checksum String,
    file String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (version, checksum)`

/**
 * Brings the schema of the engine's database up to date and returns the files that were applied here. Idempotent.
 *
 * There is no lock, because ClickHouse has none that survives its holder. Instead every statement is one that may be run
 * again, by anybody, at the same time (IF NOT EXISTS); a test reads the files for it. So ten daemons that start at once all
 * do the same harmless work, and one that died half-way is completed by the next.
 *
 * Rejects with MillraceError `MIGRATION_EDITED` when a file differs from what was applied under its number, and
 * `SCHEMA_NEWER` when the database knows a version that this daemon does not, `SCHEMA_INCOMPLETE` when it lacks what rows pass
 * through.
 */
export async function migrate(
  engine: Engine,
  options: { readonly migrations?: readonly Migration[]; readonly signal?: AbortSignal } = {},
): Promise<readonly string[]> {
  const { signal } = options
  const migrations = options.migrations ?? (await readMigrations())
  await execute(engine, CREATE_LEDGER, signal)
  const { pending } = await schemaState(engine, { migrations, signal })
  for (const migration of pending) {
    for (const statement of migration.statements) await execute(engine, statement, signal)
    await record(engine, migration, signal)
  }
  // Looked at once more: somebody may have applied another text under the same number meanwhile.
  if (pending.length > 0) await schemaState(engine, { migrations, signal })
  await checkPassage(engine, migrations, signal)
  return pending.map((migration) => migration.file)
}

/** A restored database may lack views, and nothing else would say so: what is inserted would be gone. */
async function checkPassage(
  engine: Engine,
  migrations: readonly Migration[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const rows = await select<{ name: string }>(
    engine,
    'SELECT name FROM system.tables WHERE database = {database:String}',
    { database: engine.database },
    { signal },
  )
  const there = new Set(rows.map((row) => row.name))
  for (const name of PASSED_THROUGH) {
    const made = migrations.find(({ statements }) => statements.some((sql) => sql.includes(`EXISTS ${name}`)))
    if (made === undefined || there.has(name)) continue
    throw new MillraceError(
      'SCHEMA_INCOMPLETE',
      `Database ${engine.database} has no ${name}, without which rows would be lost: ` +
        `restore it, or run the statements of migrations/${made.file} again, which changes nothing that is there.`,
    )
  }
}

/** Compares the database with the files, changing nothing. Rejects as migrate() does. */
export async function schemaState(
  engine: Engine,
  options: { readonly migrations?: readonly Migration[]; readonly signal?: AbortSignal | undefined } = {},
): Promise<SchemaState> {
  const migrations = options.migrations ?? (await readMigrations())
  const known = new Map(migrations.map((migration) => [migration.version, migration]))
  const applied = await readLedger(engine, options.signal)
  const newest = Math.max(0, ...applied.map((row) => row.version))
  const ours = Math.max(0, ...known.keys())
  if (newest > ours) {
    throw new MillraceError(
      'SCHEMA_NEWER',
      `The schema of database ${engine.database} is at version ${newest}, this millrace knows ${ours} at most: ` +
        'run the newer millrace, or give this one another database.',
    )
  }
  for (const row of applied) {
    const migration = known.get(row.version)
    if (migration?.checksum === row.checksum) continue
    throw new MillraceError(
      'MIGRATION_EDITED',
      `Migration ${row.file} was applied to database ${engine.database} with checksum ${row.checksum.slice(0, 12)}, ` +
        `the file now has ${migration?.checksum.slice(0, 12) ?? 'gone'}: restore the file and put the change into a new one.`,
    )
  }
  const done = new Set(applied.map((row) => row.version))
  return { version: newest, pending: migrations.filter((migration) => !done.has(migration.version)) }
}

/** The migrations of a folder, oldest first. Numbers run from 1 without gaps. */
export async function readMigrations(folder: URL = FOLDER): Promise<readonly Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort()
  return await Promise.all(
    files.map(async (file, index) => {
      const version = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(file)?.[1] ?? Number.NaN)
      if (version !== index + 1) {
        throw new MillraceError(
          'MIGRATION_NAME',
          `Migration ${file}: expected ${String(index + 1).padStart(4, '0')}_name.sql`,
        )
      }
      return parseMigration(version, file, await readFile(new URL(file, folder), 'utf8'))
    }),
  )
}

/** Splits a file at semicolons that end a line; lines that are only a comment are dropped. */
export function parseMigration(version: number, file: string, text: string): Migration {
  const normalised = text.replaceAll('\r\n', '\n')
  const statements = normalised
    .replaceAll(/^\s*--.*$/gm, '')
    .split(/;[ \t]*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
  return { version, file, statements, checksum: createHash('sha256').update(normalised).digest('hex') }
}

interface LedgerRow {
  readonly version: number
  readonly checksum: string
  readonly file: string
}

async function readLedger(engine: Engine, signal: AbortSignal | undefined): Promise<readonly LedgerRow[]> {
  const [found] = await select<{ tables: number | string }>(
    engine,
    `SELECT count() AS tables FROM system.tables WHERE database = {database:String} AND name = 'migrations'`,
    { database: engine.database },
    { signal },
  )
  if (Number(found?.tables ?? 0) === 0) return []
  return await select<LedgerRow>(
    engine,
    'SELECT version, checksum, any(file) AS file FROM migrations GROUP BY version, checksum ORDER BY version, checksum',
    {},
    { signal },
  )
}

async function record(engine: Engine, migration: Migration, signal: AbortSignal | undefined): Promise<void> {
  const row = JSON.stringify([migration.version, migration.checksum, migration.file])
  const into =
    'INSERT INTO migrations (version, checksum, file) SETTINGS async_insert = 0, max_execution_time = 30'
  await execute(engine, `${into} FORMAT JSONCompactEachRow\n${row}\n`, signal)
}
