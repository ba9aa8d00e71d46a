import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { MillraceError } from '../job/errors.ts'
import { ClusterDdl, createDatabase, createLedger, type Place, tablesOfAllNodes } from './cluster.ts'
import { type Engine, execute, select } from './engine.ts'
import { type Retention, retentionOfNew, retentionSteps } from './retention.ts'
import { PASSED_THROUGH } from './tables.ts'

/** One numbered SQL file, e.g. `0001_points.sql`. */
export interface Migration {
  readonly version: number
  readonly file: string
  readonly statements: readonly string[]
  /** SHA-256 of the text, line ends normalised. */
  readonly checksum: string
}

/** What migrate() would do next, in order. */
export interface Step {
  /** The migration's file, or `retention`. */
  readonly name: string
  readonly statements: readonly string[]
}

export interface SchemaState {
  /** The newest version that the database has; 0 when it is empty. */
  readonly version: number
  /** What migrate() would apply, oldest first. */
  readonly pending: readonly Migration[]
}

export interface MigrateOptions {
  /** Default: the files beside this code. */
  readonly migrations?: readonly Migration[] | undefined
  /** How long rows are kept; what is not named stays as it is. */
  readonly retention?: Retention | undefined
  readonly signal?: AbortSignal | undefined
}

const FOLDER = new URL('./migrations/', import.meta.url)

/**
 * Brings the schema of the engine's database up to date and returns the names of the steps that were done here. Idempotent.
 *
 * There is no lock, because ClickHouse has none that survives its holder. Instead every statement is one that may be run
 * again, by anybody, at the same time (IF NOT EXISTS); a test reads the files for it. So ten daemons that start at once all
 * do the same harmless work, and one that died half-way is completed by the next.
 *
 * Rejects with MillraceError `MIGRATION_EDITED` when a file differs from what was applied under its number,
 * `SCHEMA_NEWER` when the database knows a version that this daemon does not, `SCHEMA_INCOMPLETE` when it lacks what rows pass
 * through, `SCHEMA_CLUSTER` when its tables are those of one server and a cluster is configured, or the other way round.
 */
export async function migrate(engine: Engine, options: MigrateOptions = {}): Promise<readonly string[]> {
  const { signal } = options
  const migrations = options.migrations ?? (await readMigrations())
  const { pending } = await schemaState(engine, { migrations, signal })
  const done: string[] = []
  for (const { name, statements } of stepsOf(engine, migrations, pending)) {
    for (const statement of statements) await execute(engine, statement, signal)
    done.push(name)
  }
  // Looked at once more: somebody may have applied another text under the same number meanwhile.
  if (pending.length > 0) await schemaState(engine, { migrations, signal })
  await checkPassage(engine, migrations, signal)
  // By itself, because what it changes is asked of the tables, which are there only now.
  for (const { name, statements } of await retentionSteps(engine, options)) {
    for (const statement of statements) await execute(engine, statement, signal)
    done.push(name)
  }
  return done
}

/**
 * What migrate() would do, and nothing done: the statements in the order in which it would run them. Without a database
 * (`engine` undefined) everything, the database first. Rejects as migrate() does.
 */
export async function planMigration(
  engine: Engine | undefined,
  place: Place,
  options: MigrateOptions = {},
): Promise<SchemaState & { readonly newest: number; readonly steps: readonly Step[] }> {
  const migrations = options.migrations ?? (await readMigrations())
  const newest = migrations.length
  if (engine === undefined) {
    const steps = [
      ...stepsOf(place, migrations, migrations, true),
      ...retentionOfNew(place, options.retention),
    ]
    return { version: 0, newest, pending: migrations, steps }
  }
  const state = await schemaState(engine, { migrations, signal: options.signal })
  const kept =
    state.version === 0 ? retentionOfNew(place, options.retention) : await retentionSteps(engine, options)
  return { ...state, newest, steps: [...stepsOf(place, migrations, state.pending), ...kept] }
}

/** Steps as a text that ClickHouse's own client takes. */
export function sqlOf(steps: readonly Step[]): string {
  return steps
    .map(({ name, statements }) => `\n-- ${name}\n${statements.map((sql) => `${sql};\n`).join('')}`)
    .join('')
}

/**
 * Each pending migration as the place needs it, and the row that records it; the first one brings the ledger, and the database
 * where it may not be there.
 */
function stepsOf(
  place: Place,
  migrations: readonly Migration[],
  pending: readonly Migration[],
  isNew = false,
): Step[] {
  const { cluster, database } = place
  const ddl = cluster === undefined ? undefined : new ClusterDdl({ cluster, database })
  // On a cluster the other nodes may lack the database.
  const prelude = isNew || ddl !== undefined ? [createDatabase(place)] : []
  return migrations.flatMap((migration) => {
    // The statements of those before say which tables there are.
    const statements = migration.statements.flatMap((sql) => ddl?.spread(sql) ?? [sql])
    if (!pending.includes(migration)) return []
    const first = migration === pending[0] ? [...prelude, createLedger(place)] : []
    return [{ name: migration.file, statements: [...first, ...statements, recordOf(migration)] }]
  })
}

function recordOf({ version, checksum, file }: Migration): string {
  const row = `(${version}, '${checksum}', '${file}')`
  return `INSERT INTO migrations (version, checksum, file) SETTINGS async_insert = 0, max_execution_time = 30 VALUES ${row}`
}

/** A restored database may lack views, and nothing else would say so: what is inserted would be gone. */
async function checkPassage(
  engine: Engine,
  migrations: readonly Migration[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const there = await tablesEverywhere(engine, signal)
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

/** Names of the database's tables that every node has. */
async function tablesEverywhere(engine: Engine, signal: AbortSignal | undefined): Promise<Set<string>> {
  const { database } = engine
  const rows = await select<{ name: string; nodes: number | string }>(
    engine,
    `SELECT name, count() AS nodes FROM ${tablesOfAllNodes(engine)}
    WHERE database = {database:String} OR (database = 'system' AND name = 'one') GROUP BY name`,
    { database },
    { signal },
  )
  const nodes = Number(rows.find(({ name }) => name === 'one')?.nodes ?? 1)
  return new Set(rows.filter((row) => Number(row.nodes) >= nodes).map(({ name }) => name))
}

/**
 * Compares the database with the files, changing nothing. Rejects as migrate() does. On a cluster with a node that has no
 * tables yet everything is pending again, since every statement leaves alone what is there.
 */
export async function schemaState(
  engine: Engine,
  options: Pick<MigrateOptions, 'migrations' | 'signal'> = {},
): Promise<SchemaState> {
  const migrations = options.migrations ?? (await readMigrations())
  const { applied, everywhere } = await readLedger(engine, options.signal)
  const newest = Math.max(0, ...applied.map((row) => row.version))
  const ours = Math.max(0, ...migrations.map((migration) => migration.version))
  if (newest > ours) {
    throw new MillraceError(
      'SCHEMA_NEWER',
      `The schema of database ${engine.database} is at version ${newest}, this millrace knows ${ours} at most: ` +
        'run the newer millrace, or give this one another database.',
    )
  }
  const known = new Map(migrations.map((migration) => [migration.version, migration]))
  for (const row of applied) {
    const migration = known.get(row.version)
    if (migration?.checksum === row.checksum) continue
    throw new MillraceError(
      'MIGRATION_EDITED',
      `Migration ${row.file} was applied to database ${engine.database} with checksum ${row.checksum.slice(0, 12)}, ` +
        `the file now has ${migration?.checksum.slice(0, 12) ?? 'gone'}: restore the file and put the change into a new one.`,
    )
  }
  const done = new Set(everywhere ? applied.map((row) => row.version) : [])
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

async function readLedger(
  engine: Engine,
  signal: AbortSignal | undefined,
): Promise<{ readonly applied: readonly LedgerRow[]; readonly everywhere: boolean }> {
  const { database, cluster } = engine
  const [here] = await select<{ ledgers: number | string; engine: string }>(
    engine,
    `SELECT countIf(name = 'migrations') AS ledgers, anyIf(engine, name = 'points') AS engine
    FROM system.tables WHERE database = {database:String}`,
    { database },
    { signal },
  )
  checkKind(engine, here?.engine ?? '')
  if (Number(here?.ledgers ?? 0) === 0) return { applied: [], everywhere: false }
  const applied = await select<LedgerRow>(
    engine,
    'SELECT version, checksum, any(file) AS file FROM migrations GROUP BY version, checksum ORDER BY version, checksum',
    {},
    { signal },
  )
  const everywhere = cluster === undefined || (await tablesEverywhere(engine, signal)).has('migrations')
  return { applied, everywhere }
}

/** The two kinds of tables have the same names, and rows cannot be moved between them by DDL. */
function checkKind({ database, cluster }: Engine, engineOfPoints: string): void {
  if (engineOfPoints === '' || (engineOfPoints === 'Distributed') === (cluster !== undefined)) return
  throw new MillraceError(
    'SCHEMA_CLUSTER',
    cluster === undefined
      ? `The tables of database ${database} were made for a cluster: set clickhouse.cluster to its name.`
      : `The tables of database ${database} are those of a single server, and clickhouse.cluster is set: ` +
          'give the cluster another database, and copy the rows with INSERT INTO … SELECT.',
    { kind: 'usage' },
  )
}
