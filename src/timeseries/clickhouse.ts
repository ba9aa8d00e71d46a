import {
  type ClickHouseClient,
  ClickHouseLogLevel,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client'
import { MillraceError } from '../job/errors.ts'
import { createDatabase } from './cluster.ts'
import {
  checkClusterName,
  checkDatabaseName,
  databaseMissingError,
  type Engine,
  engineClosedError,
  engineCode,
  type OpenOptions,
  translateEngineError,
  UNKNOWN_DATABASE,
} from './engine.ts'

export interface ClickHouseOptions {
  /** `http://host:8123` or `https://host:8443`. */
  readonly url: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly database: string
  /** The name in `remote_servers` of the cluster whose nodes hold the tables between them; any of them may be `url`. */
  readonly cluster?: string | undefined
  /** PEM; only for https. Without it the system's authorities are trusted. */
  readonly tls?: { readonly ca: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  /** How long a reply may take; the engine's own limit of a query (max_execution_time) is below it. Default 60,000. */
  readonly requestTimeoutMs?: number
}

/** Writing keeps two inserts in flight, and DDL beside them. */
const WRITE_SOCKETS = 4
const READ_SOCKETS = 10

/**
 * What every statement to a cluster is run with. A statement for all nodes fails before our request gives up, and prints no rows,
 * after which a failure could only be told inside the reply. A shard that is away is an error, not a smaller answer.
 */
const CLUSTER_SETTINGS = {
  distributed_ddl_task_timeout: '50',
  distributed_ddl_output_mode: 'none',
  skip_unavailable_shards: 0,
} as const

/**
 * Acknowledged means stored by the nodes that the rows belong to, not put into a queue. All daemons write a shard's rows at the
 * same replica while it lives, because a batch of creators is compared with what that replica holds (migration 0006).
 */
const CLUSTER_WRITE_SETTINGS = {
  ...CLUSTER_SETTINGS,
  distributed_foreground_insert: 1,
  load_balancing: 'in_order',
  prefer_localhost_replica: 0,
} as const

/** A ClickHouse server over HTTP. Makes no connection before open(). */
export class ClickHouseEngine implements Engine {
  readonly name = 'clickhouse'
  readonly database: string
  readonly cluster: string | undefined
  readonly #options: ClickHouseOptions
  #clients: { readonly write: ClickHouseClient; readonly read: ClickHouseClient } | undefined
  #opening: Promise<void> | undefined

  constructor(options: ClickHouseOptions) {
    this.database = checkDatabaseName(options.database)
    this.cluster = options.cluster === undefined ? undefined : checkClusterName(options.cluster)
    if (!/^https?:\/\//.test(options.url)) {
      throw new MillraceError(
        'CLICKHOUSE_URL',
        `clickhouse.url=${JSON.stringify(options.url)}: expected http://… or https://…`,
        {
          kind: 'usage',
        },
      )
    }
    this.#options = options
  }

  get write(): ClickHouseClient {
    if (this.#clients === undefined) throw engineClosedError()
    return this.#clients.write
  }

  get read(): ClickHouseClient {
    if (this.#clients === undefined) throw engineClosedError()
    return this.#clients.read
  }

  open(options: OpenOptions = {}): Promise<void> {
    this.#opening ??= this.#open(options).catch(async (error: unknown) => {
      await this.close()
      throw error
    })
    return this.#opening
  }

  async #open({ create = true }: OpenOptions): Promise<void> {
    this.#clients = {
      write: this.#connect(this.database, WRITE_SOCKETS, CLUSTER_WRITE_SETTINGS),
      read: this.#connect(this.database, READ_SOCKETS),
    }
    try {
      await ask(this.#clients.read)
      return
    } catch (error) {
      if (engineCode(error) !== UNKNOWN_DATABASE) throw translateEngineError(this, error, 'The first query')
    }
    if (!create) throw databaseMissingError(this.database, `at ${this.#options.url}`)
    // Only now, so that a user who may not create databases can be given one that is there.
    const bootstrap = this.#connect('default', 1)
    try {
      await bootstrap.command({ query: createDatabase(this) })
    } catch (cause) {
      throw translateEngineError(this, cause, `Creating the database ${this.database}`)
    } finally {
      await bootstrap.close()
    }
  }

  async ping(signal?: AbortSignal): Promise<void> {
    try {
      await ask(this.read, signal)
    } catch (error) {
      signal?.throwIfAborted()
      throw translateEngineError(this, error, 'A ping')
    }
  }

  async close(): Promise<void> {
    const clients = this.#clients
    this.#clients = undefined
    this.#opening = undefined
    if (clients !== undefined) await Promise.all([clients.write.close(), clients.read.close()])
  }

  #connect(
    database: string,
    sockets: number,
    clusterSettings: ClickHouseSettings = CLUSTER_SETTINGS,
  ): ClickHouseClient {
    const { url, username, password, tls, requestTimeoutMs } = this.#options
    return createClient({
      url,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(tls === undefined ? {} : { tls: tlsOf(tls) }),
      database,
      ...(this.cluster === undefined ? {} : { clickhouse_settings: clusterSettings }),
      application: 'millrace',
      request_timeout: requestTimeoutMs ?? 60_000,
      max_open_connections: sockets,
      // Below the 3 s that old servers keep an idle connection, so that we never write into one that is being closed.
      keep_alive: { enabled: true, idle_socket_ttl: 2_500 },
      // Its lines would bypass our log; whoever calls gets the error.
      log: { level: ClickHouseLogLevel.OFF },
    })
  }
}

function tlsOf(tls: NonNullable<ClickHouseOptions['tls']>) {
  const { ca, cert, key } = tls
  return cert === undefined || key === undefined ? { ca_cert: ca } : { ca_cert: ca, cert, key }
}

/** A query in our database, not `/ping`: that one is answered before credentials and database are looked at. */
async function ask(client: ClickHouseClient, signal?: AbortSignal): Promise<void> {
  const result = await client.query({
    query: 'SELECT 1 SETTINGS max_execution_time = 30',
    ...(signal === undefined ? {} : { abort_signal: signal }),
  })
  await result.text()
}
