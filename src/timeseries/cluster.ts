import { MillraceError } from '../job/errors.ts'
import type { Engine } from './engine.ts'

/** Where a schema goes: the database, and the cluster when its tables are spread over one. */
export type Place = Pick<Engine, 'database' | 'cluster'>

/**
 * The statements of the migrations, written for a cluster. Each table becomes two on every node: `<name>_local`, replicated among
 * the nodes of a shard, and under the contract's name a Distributed table over all shards. Views work inside a shard, on the local
 * tables: all rows of a key are in one shard, so FINAL there is FINAL everywhere. See docs/decisions/timeseries.md.
 *
 * Takes statements in the order of the migrations, since they say which tables there are. Throws MillraceError
 * `MIGRATION_CLUSTER` for a statement that it does not know how to spread: a mistake in a new migration, which a test finds.
 */
export class ClusterDdl {
  readonly #cluster: string
  readonly #database: string
  /** Names that stand for a `_local` one inside a shard. */
  readonly #spread = new Set<string>()

  constructor({ cluster, database }: { readonly cluster: string; readonly database: string }) {
    this.#cluster = cluster
    this.#database = database
  }

  /** What one statement of a migration becomes, in order. */
  spread(statement: string): string[] {
    const [, verb, name, rest] = HEAD.exec(statement) ?? []
    if (verb === undefined || name === undefined || rest === undefined) throw unknown(statement)
    switch (verb) {
      case 'CREATE TABLE IF NOT EXISTS':
        return this.#table(name, rest)
      case 'CREATE MATERIALIZED VIEW IF NOT EXISTS':
        return this.#materializedView(name, rest)
      case 'CREATE OR REPLACE VIEW':
        return this.#view(name, rest)
      case 'ALTER TABLE':
        return this.#alter(name, rest)
      case 'DROP TABLE IF EXISTS':
      case 'DROP VIEW IF EXISTS':
        return [name, ...this.#behind(name)].map((one) => this.#drop(one))
      default:
        // What a migration fills from rows that are there: the first schema of a cluster has it, and no rows.
        if (FILLED_BY_VIEWS.has(name)) return []
        // From all shards into all shards, by the key that both are sharded by.
        if (FILLED_FROM_ALL.has(name)) return [statement]
        throw unknown(statement)
    }
  }

  #table(name: string, rest: string): string[] {
    if (INSIDE_A_NODE.has(name)) return [this.#on('CREATE TABLE IF NOT EXISTS', name, rest)]
    this.#spread.add(name)
    // Where nothing says whose the rows are, each shard has its own, from its own views, and nobody can insert through this one.
    const key = SHARDED_BY[name] ?? (hasCreators(rest) ? SHARDED_BY_DEFAULT : undefined)
    return [
      this.#on('CREATE TABLE IF NOT EXISTS', local(name), replicated(rest)),
      this.#on(
        'CREATE TABLE IF NOT EXISTS',
        name,
        ` AS ${local(name)}\n${this.#distributed(local(name), key)}`,
      ),
    ]
  }

  #materializedView(name: string, rest: string): string[] {
    const inShard = this.#localised(rest)
    if (/^[^(]*\bTO \w/.test(rest)) return [this.#on('CREATE MATERIALIZED VIEW IF NOT EXISTS', name, inShard)]
    // It keeps what it found itself: refreshed by every replica for its shard.
    const columns = /\n(\(.*?\n\))\nENGINE/s.exec(rest)?.[1]
    if (columns === undefined) throw unknown(`${name}${rest}`)
    this.#spread.add(name)
    const view = this.#on('CREATE MATERIALIZED VIEW IF NOT EXISTS', local(name), inShard)
    const over = (all: string) =>
      this.#on('CREATE TABLE IF NOT EXISTS', all, `\n${columns}\n${this.#distributed(local(name))}`)
    if (hasCreators(columns)) return [view, over(name)]
    const shards = `${name}_shards`
    return [view, over(shards), this.#on('CREATE VIEW IF NOT EXISTS', name, addedUp(name, `${shards} AS s`))]
  }

  /** A view that takes a refreshed one's place. */
  #view(name: string, rest: string): string[] {
    const [, source, final = ''] = /\bFROM (\w+)( FINAL)?$/.exec(rest) ?? []
    if (source === undefined) throw unknown(`${name}${rest}`)
    const view = this.#on('CREATE OR REPLACE VIEW', name, addedUp(name, `${source} AS s${final}`))
    return [view, ...this.#behind(name).map((one) => this.#drop(one))]
  }

  #alter(name: string, rest: string): string[] {
    if (!this.#spread.has(name)) return [this.#on('ALTER TABLE', name, this.#localised(rest))]
    const alter = this.#on('ALTER TABLE', local(name), withReplicatedSettings(this.#localised(rest)))
    // A Distributed table has columns, and neither indices nor settings nor a TTL of the stored one.
    return /^ (ADD|DROP) COLUMN /.test(rest) ? [alter, this.#on('ALTER TABLE', name, rest)] : [alter]
  }

  /** What stands behind the name of a table, which is forgotten. */
  #behind(name: string): string[] {
    if (!this.#spread.delete(name)) return []
    return name in ADDED_UP ? [`${name}_shards`, local(name)] : [local(name)]
  }

  /** Views too. SYNC, so that a table of the same name may be made at once under the same path in Keeper. */
  #drop(name: string): string {
    return this.#on('DROP TABLE IF EXISTS', name, ' SYNC')
  }

  #on(verb: string, name: string, rest: string): string {
    return `${verb} ${name} ON CLUSTER \`${this.#cluster}\`${rest}`
  }

  #distributed(table: string, key?: string): string {
    const sharded = key === undefined ? '' : `, cityHash64(${key})`
    return `ENGINE = Distributed('${this.#cluster}', '${this.#database}', '${table}'${sharded})`
  }

  /** Names of tables where a statement reads or fills them; columns may have the same names. */
  #localised(sql: string): string {
    return sql.replaceAll(
      /\b(FROM|JOIN|TO)(\s+)(\w+)\b/g,
      (all, word: string, space: string, name: string) =>
        this.#spread.has(name) ? `${word}${space}${local(name)}` : all,
    )
  }
}

const HEAD =
  /^(CREATE TABLE IF NOT EXISTS|CREATE MATERIALIZED VIEW IF NOT EXISTS|CREATE OR REPLACE VIEW|ALTER TABLE|DROP TABLE IF EXISTS|DROP VIEW IF EXISTS|INSERT INTO) (\w+)(.*)$/s

/** Rows pass through it from one view to the next. */
const INSIDE_A_NODE: ReadonlySet<string> = new Set(['creators_compared'])

const FILLED_BY_VIEWS: ReadonlySet<string> = new Set(['days_written'])
const FILLED_FROM_ALL: ReadonlySet<string> = new Set(['creators_engagement'])

/** Always of columns of the table's sorting key: two versions of a row that landed on two shards would never meet. */
const SHARDED_BY_DEFAULT = 'platform, creator_id'
const SHARDED_BY: Readonly<Record<string, string>> = { jobs: 'platform, job_id' }

/** Views that put creators together: each shard knows its part, and a reader adds the parts up. */
const ADDED_UP: Readonly<Record<string, string>> = {
  platform_daily:
    's.day AS day, s.platform AS platform, s.metric AS metric, sum(s.creators) AS creators, sum(s.total) AS total',
}

function addedUp(name: string, shards: string): string {
  const sums = ADDED_UP[name]
  if (sums === undefined) throw unknown(`${name}: a view of creators of all shards`)
  return ` AS\nSELECT ${sums}\nFROM ${shards}\nGROUP BY day, platform, metric`
}

function hasCreators(columns: string): boolean {
  return /^ +creator_id /m.test(columns)
}

function local(name: string): string {
  return `${name}_local`
}

/**
 * The path is written out, not left to `default_replica_path`: that one has a new UUID for every statement, so a node that misses
 * one and makes its table at the next would replicate with nobody.
 */
function replicated(sql: string): string {
  return withReplicatedSettings(sql).replace(
    /\bENGINE = ReplacingMergeTree\((\w+)\)/,
    `ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', $1)`,
  )
}

function withReplicatedSettings(sql: string): string {
  return sql.replaceAll('non_replicated_deduplication_window', 'replicated_deduplication_window')
}

function unknown(statement: string): MillraceError {
  return new MillraceError(
    'MIGRATION_CLUSTER',
    `A statement that cluster.ts cannot write for a cluster: ${statement.slice(0, 200)}`,
  )
}

/** The database, on every node of a cluster. */
export function createDatabase({ database, cluster }: Place): string {
  return `CREATE DATABASE IF NOT EXISTS \`${database}\`${cluster === undefined ? '' : ` ON CLUSTER \`${cluster}\``}`
}

/**
 * The table of what was applied. The checksum is part of the key: should two daemons ever apply different texts under one number,
 * both stay visible. Ten daemons that record the same text leave ten equal rows, which FINAL reads as one. On a cluster every
 * node has a copy of the whole, whatever its shard.
 */
export function createLedger({ cluster }: Place): string {
  const on = cluster === undefined ? '' : ` ON CLUSTER \`${cluster}\``
  const engine =
    cluster === undefined
      ? 'ReplacingMergeTree'
      : `ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}')`
  return `CREATE TABLE IF NOT EXISTS migrations${on}
(
    version UInt32,
    checksum String,
    file String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ${engine}
ORDER BY (version, checksum)`
}

/** The name of the table that holds the rows, where DDL that is about storage has to go. */
export function storedTable({ cluster }: Place, name: string): string {
  return cluster === undefined ? name : local(name)
}

/** `system.tables` of every node. */
export function tablesOfAllNodes({ cluster }: Place): string {
  return cluster === undefined ? 'system.tables' : `clusterAllReplicas('${cluster}', system.tables)`
}
