import type { ConnectionOptions } from 'node:tls'
import { Cluster, Redis } from 'ioredis'
import { MillraceError, messageOf, ServiceAwayError } from '../job/errors.ts'
import type { Log } from '../telemetry/log.ts'

export interface RedisOptions {
  /** `redis://` or `rediss://` with host, port and database. Of a cluster: one of its nodes. */
  readonly url: string
  /** The addresses of other nodes of a cluster, by which it can be found while `url` is down; empty: a cluster of whom `url` knows. */
  readonly cluster?: readonly string[] | undefined
  /** ACL user. */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** TLS options; `true` for the defaults of Node. A `rediss://` address means TLS as well. */
  readonly tls?: boolean | ConnectionOptions | undefined
  /** Daemons with the same prefix share their limits, and know of each other's jobs. No braces: it becomes a hash tag. */
  readonly keyPrefix: string
}

/** Who uses a connection, for the log and for CLIENT LIST. */
export interface RedisUser {
  readonly name: 'limiter' | 'marks' | 'tokens' | 'fleet' | 'api' | 'api-events' | 'progress'
  /** What does not happen while Redis is away. */
  readonly whileAway: string
  /** Sends the calls of one tick together. */
  readonly pipelines: boolean
}

export interface RedisLinkOptions extends RedisOptions {
  /** Default 500. A call without reply in this time fails; nobody knows whether it was executed. */
  readonly commandTimeoutMs?: number | undefined
  /** How long `start` waits for the first connection. Default 5,000. */
  readonly startTimeoutMs?: number | undefined
}

const COMMAND_TIMEOUT_MS = 500
const START_TIMEOUT_MS = 5_000
const RETRY_MS_MAX = 1_000
const PROBE_MS = 500

/**
 * A client that says what is the case. Whatever ioredis does for the convenience of others would break the limits:
 * - no offline queue and no retries: a grant that comes late is worse than none;
 * - unfulfilled commands are not sent again: they may have been executed, and would be charged twice;
 * - no auto-pipelining for who asks seldom: it delays.
 * Constructing it does no I/O.
 */
export function createClient(options: RedisLinkOptions, user: RedisUser): Redis | Cluster {
  const { url, username, password, tls, cluster } = options
  const commandTimeoutMs = options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS
  const retry = (times: number) => Math.min(RETRY_MS_MAX, 25 * 2 ** Math.min(times, 6))
  const connection = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined || tls === false ? {} : { tls: tls === true ? {} : tls }),
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeoutMs,
    // A connection that stays silent with calls under way is given up, so that a new one can be made: half-open ones never end.
    socketTimeout: commandTimeoutMs * 2,
    connectTimeout: START_TIMEOUT_MS,
    connectionName: `millrace-${user.name}`,
  }
  const shared = { lazyConnect: true, enableOfflineQueue: false, enableAutoPipelining: user.pipelines }
  if (cluster !== undefined) {
    return new Cluster([url, ...cluster], {
      ...shared,
      redisOptions: connection,
      clusterRetryStrategy: retry,
      // One try: a grant that comes late is worse than none.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      maxRedirections: 3,
      slotsRefreshTimeout: START_TIMEOUT_MS,
    })
  }
  return new Redis(url, {
    ...shared,
    ...connection,
    retryStrategy: retry,
    // After a fail-over the old master refuses writes: the address leads to the new one by then.
    reconnectOnError: (error) => /(?:^|[\s-])READONLY\b/.test(error.message),
  })
}

/**
 * Redis' codes for "I am here but cannot serve you": everything else that it answers is an error of ours. The code is the first
 * word, but before Redis 7 an error inside a script comes wrapped in another one.
 */
const AWAY =
  /(?:^|[\s-])(?:LOADING|MISCONF|OOM|READONLY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|NOAUTH|NOPERM|WRONGPASS)\b|^ERR max/

/**
 * The connection's health around a client: connects, tells once when Redis goes and when it comes back, and finds out by itself
 * when a Redis that refused calls serves them again.
 *
 * States: stopped → start → connecting ⇄ ready (healthy) ⇄ ready but refusing (probed twice a second) → stop → stopped.
 */
export class RedisLink {
  readonly client: Redis | Cluster
  readonly #log: Log
  readonly #address: string
  readonly #probeKey: string
  readonly #startTimeoutMs: number
  readonly #user: RedisUser
  #refusing = false
  #told = false
  #starting: Promise<void> | undefined
  #started = false
  #lastError: unknown
  #probe: NodeJS.Timeout | undefined

  constructor(client: Redis | Cluster, options: RedisLinkOptions, user: RedisUser, log: Log) {
    this.client = client
    this.#user = user
    this.#log = log
    this.#address = addressOf(options.url)
    this.#probeKey = `{${options.keyPrefix}}:probe`
    this.#startTimeoutMs = options.startTimeoutMs ?? START_TIMEOUT_MS
    // Without a listener ioredis prints errors itself. What it reports follows as a closed connection.
    client.on('error', (error: unknown) => this.#failed(error))
    client.on('close', () => this.#went(this.#lastError))
    client.on('ready', () => this.#cameBack())
  }

  get healthy(): boolean {
    return this.client.status === 'ready' && !this.#refusing
  }

  /**
   * Connects. Rejects with ServiceAwayError when there is no connection in time; then it may be called again. Once it has
   * succeeded, lost connections are made anew for as long as it takes.
   */
  start(): Promise<void> {
    this.#starting ??= this.#connect().catch(async (error: unknown) => {
      this.#starting = undefined
      await this.#disconnect()
      throw error
    })
    return this.#starting
  }

  async stop(): Promise<void> {
    this.#started = false
    this.#starting = undefined
    clearInterval(this.#probe)
    this.#probe = undefined
    await this.#disconnect()
  }

  async #disconnect(): Promise<void> {
    const { client } = this
    if (client.status === 'wait' || client.status === 'end') return
    if (client.status === 'reconnecting' || client.status === 'close') {
      // No socket is open, so no `end` would ever come; this only takes back the next try.
      client.disconnect()
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    client.once('end', resolve)
    client.disconnect()
    await promise
  }

  async #connect(): Promise<void> {
    const { client } = this
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // What an earlier start heard is not why this one fails.
    this.#lastError = undefined
    const timer = setTimeout(() => reject(this.#lastError), this.#startTimeoutMs)
    client.once('ready', resolve)
    // Rejects as soon as the first try fails, while ioredis goes on trying: that is what the timer is for.
    client.connect().catch((error: unknown) => this.#failed(error))
    try {
      await promise
      this.#started = true
    } catch (error) {
      throw this.away(error)
    } finally {
      clearTimeout(timer)
      client.off('ready', resolve)
    }
  }

  /** Runs one call and translates its failure: ServiceAwayError, or MillraceError `REDIS_REFUSED` when Redis is not to blame. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    if (this.client.status !== 'ready') throw this.away(this.#lastError)
    try {
      const result = await call()
      if (this.#refusing) this.#cameBack()
      return result
    } catch (error) {
      if (isReply(error) && !AWAY.test(messageOf(error))) {
        throw new MillraceError(
          'REDIS_REFUSED',
          `Redis at ${this.#address} refuses a call of the ${this.#user.name}: ${messageOf(error)}. Is the key prefix used by something else?`,
          { cause: error },
        )
      }
      this.#went(error)
      throw this.away(error)
    }
  }

  #failed(error: unknown): void {
    // While it starts, what Redis itself said (a wrong password) tells more than that the next try took too long.
    if (this.#started || isReply(error) || !isReply(this.#lastError)) this.#lastError = error
  }

  away(cause: unknown): ServiceAwayError {
    const why = cause === undefined ? 'no connection' : messageOf(cause)
    return new ServiceAwayError(
      'redis',
      `Redis at ${this.#address} does not answer: ${why}. Until it does, ${this.#user.whileAway}.`,
      {
        cause,
      },
    )
  }

  #went(error: unknown): void {
    if (!this.#started) return
    this.#refusing = true
    this.#probe ??= setInterval(() => this.#tryAgain(), PROBE_MS).unref()
    if (this.#told) return
    this.#told = true
    this.#log.warn(
      { error: messageOf(error ?? 'connection closed') },
      `${this.#user.name}: Redis is away, ${this.#user.whileAway}`,
    )
  }

  #cameBack(): void {
    this.#refusing = false
    this.#lastError = undefined
    clearInterval(this.#probe)
    this.#probe = undefined
    if (!this.#told) return
    this.#told = false
    this.#log.info(`${this.#user.name}: Redis is back`)
  }

  /** A write, because a Redis that is out of memory or a replica still answers reads. */
  #tryAgain(): void {
    if (this.client.status !== 'ready') return
    this.client.set(this.#probeKey, '1', 'PX', 1_000).then(
      () => this.#cameBack(),
      () => {},
    )
  }
}

/** An error that Redis sent, as opposed to one of the connection. */
function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

/** The address without user and password. */
function addressOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  return parsed === undefined ? 'an address that is no URL' : parsed.host
}
