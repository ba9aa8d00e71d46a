import { existsSync } from 'node:fs'
import { access, constants, mkdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  type ClickHouseClient,
  type ClickHouseClientConfigOptions,
  ClickHouseLogLevel,
  createClient,
} from '@clickhouse/client'
import { MillraceError, messageOf } from '../job/errors.ts'
import {
  checkDatabaseName,
  databaseMissingError,
  type Engine,
  engineClosedError,
  engineCode,
  type OpenOptions,
  translateEngineError,
  UNKNOWN_DATABASE,
} from './engine.ts'

export interface ChdbOptions {
  /** The folder that holds the data; created when it is not there. One process at a time, one folder per process. */
  readonly path: string
  readonly database: string
}

/**
 * The ClickHouse engine inside this process. About 300 MB resident once opened; queries run on libuv's threads. Nothing is
 * loaded before open(), so a daemon that has a server never pays for it.
 *
 * Each client has a connection of its own with its own current database; a client runs one query after another.
 */
export class ChdbEngine implements Engine {
  readonly name = 'chdb'
  readonly database: string
  readonly #path: string
  #clients: { readonly write: ClickHouseClient; readonly read: ClickHouseClient } | undefined
  #opening: Promise<void> | undefined

  constructor(options: ChdbOptions) {
    this.database = checkDatabaseName(options.database)
    this.#path = resolve(options.path)
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
    const missing = () => databaseMissingError(this.database, `in the folder ${this.#path}`)
    if (!create && !existsSync(join(this.#path, 'metadata'))) throw missing()
    await prepareFolder(this.#path)
    const { createChdbConnection } = await import('chdb/connection').catch(translateMissing)
    const connect = () =>
      createClient({
        connection: connectionOf(createChdbConnection({ path: this.#path })),
        log: { level: ClickHouseLogLevel.OFF },
      })
    let write: ClickHouseClient
    try {
      write = connect()
    } catch (error) {
      throw await explainFailedOpen(this.#path, error)
    }
    // The folder is ours now: a second connection in the same process shares it.
    this.#clients = { write, read: connect() }
    try {
      if (create) await write.command({ query: `CREATE DATABASE IF NOT EXISTS \`${this.database}\`` })
      // The client's `database` option is ignored here; USE holds for a connection.
      for (const client of [this.write, this.read])
        await client.command({ query: `USE \`${this.database}\`` })
    } catch (error) {
      if (!create && engineCode(error) === UNKNOWN_DATABASE) throw missing()
      throw translateEngineError(this, error, `Opening the database ${this.database}`)
    }
  }

  async ping(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const result = await this.read.ping({ select: true })
    if (!result.success) throw translateEngineError(this, result.error, 'A ping')
  }

  async close(): Promise<void> {
    const clients = this.#clients
    this.#clients = undefined
    this.#opening = undefined
    if (clients !== undefined) await Promise.all([clients.write.close(), clients.read.close()])
  }
}

/**
 * chDB is typed against @clickhouse/client-common, the client against its own copy of the same declarations, which
 * TypeScript holds apart because of a private field in one of them. The shapes are one; the tests run both.
 */
function connectionOf(connection: object): NonNullable<ClickHouseClientConfigOptions['connection']> {
  return connection as NonNullable<ClickHouseClientConfigOptions['connection']>
}

/** The engine's own error for a folder it cannot use names no cause, so the folder is tried first. */
async function prepareFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new MillraceError(
      'CHDB_FOLDER',
      `The folder ${path} for the embedded engine cannot be written (${messageOf(error, 300)}); ` +
        'expected a folder that this user may create and write: set `data`.',
      { cause: error },
    )
  }
}

/**
 * The engine says no more than "failed to create connection". It holds a lock on `<path>/status`, in which it writes its
 * process id: if that process is alive, it is the one who has the folder.
 */
async function explainFailedOpen(path: string, error: unknown): Promise<MillraceError> {
  const status = await readFile(join(path, 'status'), 'utf8').catch(() => '')
  const pid = Number(/^PID: (\d+)$/m.exec(status)?.[1] ?? Number.NaN)
  if (Number.isInteger(pid) && pid !== process.pid && isAlive(pid)) {
    return new MillraceError(
      'CHDB_FOLDER_IN_USE',
      `Another process (pid ${pid}) uses the folder ${path}; the embedded engine allows one. ` +
        'Stop it, choose another `data` folder, or configure a ClickHouse server.',
      { cause: error },
    )
  }
  return new MillraceError(
    'CHDB_OPEN',
    `The embedded engine cannot open the folder ${path}: ${messageOf(error, 500)}. ` +
      'Expected an empty folder or one that it wrote itself, that no other process (in another container, say) uses, ' +
      'and no other folder open in this process.',
    { cause: error },
  )
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It is there and belongs to somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** The package is half a gigabyte, so that images and small installations leave it out. */
function translateMissing(error: unknown): never {
  if ((error as NodeJS.ErrnoException | null)?.code !== 'ERR_MODULE_NOT_FOUND') throw error
  throw new MillraceError(
    'EMBEDDED_ENGINE_MISSING',
    'the embedded ClickHouse engine (package chdb) is not installed here, as in the container image: name a server under `clickhouse`',
    { kind: 'usage', cause: error },
  )
}
