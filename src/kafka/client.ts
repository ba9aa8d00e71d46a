import {
  type Admin,
  type ISocketFactory,
  Kafka,
  type KafkaConfig,
  logLevel,
  type RetryOptions,
  type SASLOptions,
} from 'kafkajs'
import { MillraceError, messageOf, ServiceAwayError } from '../job/errors.ts'
import { within } from '../lib/within.ts'
import type { Log } from '../telemetry/log.ts'
import { registerCodecs } from './codecs.ts'
import { repairRequestQueue } from './request-queue.ts'

export interface KafkaTls {
  /** PEM texts, not paths. Default: the system's certificate authorities. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
  /** Default true. */
  readonly rejectUnauthorized?: boolean
}

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
  readonly username: string
  readonly password: string
}

export interface KafkaClientOptions {
  /** `host:port` each. */
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly tls?: boolean | KafkaTls
  readonly sasl?: KafkaSasl
  /** Default 3,000. */
  readonly connectTimeoutMs?: number
  /** How sockets are made, for tunnels; default kafkajs's own. */
  readonly socketFactory?: ISocketFactory
  /** Retries inside one kafkajs call. Default 10, which with its delays spans about 10 s. */
  readonly retries?: number
  /** How long one request may take. Default 15,000: a broker that hangs is away. */
  readonly requestTimeoutMs?: number
}

/**
 * Retries inside one kafkajs call. When they are used up, a consumer crashes and restarts itself and a producer tells us;
 * both go on for as long as the broker is away.
 */
export const RETRY: RetryOptions = {
  initialRetryTime: 50,
  maxRetryTime: 2_000,
  retries: 10,
  factor: 0.2,
  multiplier: 2,
}

/**
 * A kafkajs client with all codecs, our log and our retry settings. No I/O. Its INFO lines become `debug` and its errors
 * `warn`, each once in 30 s: kafkajs calls an error what its own retries heal a moment later; what remains is thrown and
 * told by us.
 */
export function createKafkaClient(options: KafkaClientOptions, log: Log): Kafka {
  repairRequestQueue()
  registerCodecs()
  const config: KafkaConfig = {
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: options.connectTimeoutMs ?? 3_000,
    authenticationTimeout: options.connectTimeoutMs ?? 3_000,
    requestTimeout: options.requestTimeoutMs ?? 15_000,
    retry: { ...RETRY, retries: options.retries ?? RETRY.retries! },
    logLevel: log.isLevelEnabled('trace')
      ? logLevel.DEBUG
      : log.isLevelEnabled('debug')
        ? logLevel.INFO
        : logLevel.WARN,
    logCreator: () => bridge(log),
  }
  if (options.tls !== undefined && options.tls !== false)
    config.ssl = options.tls === true ? true : { ...options.tls }
  if (options.socketFactory !== undefined) config.socketFactory = options.socketFactory
  if (options.sasl !== undefined) config.sasl = { ...options.sasl } as SASLOptions
  return new Kafka(config)
}

/** While a broker is away kafkajs says the same dozens of times a second. */
const REPEAT_AFTER_MS = 30_000
const REMEMBERED_LINES_MAX = 100

function bridge(log: Log) {
  const saidAtMs = new Map<string, number>()
  const isRepetition = (line: string): boolean => {
    const nowMs = performance.now()
    if (nowMs - (saidAtMs.get(line) ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS) return true
    if (saidAtMs.size >= REMEMBERED_LINES_MAX) saidAtMs.clear()
    saidAtMs.set(line, nowMs)
    return false
  }
  return (entry: {
    namespace: string
    level: logLevel
    log: { message: string; [field: string]: unknown }
  }) => {
    const { message, stack: _stack, logger: _logger, timestamp: _timestamp, ...fields } = entry.log
    const line = `kafkajs ${entry.namespace}: ${message}`
    switch (entry.level) {
      case logLevel.ERROR:
      case logLevel.WARN:
        log[isRepetition(line) ? 'debug' : 'warn'](fields, line)
        break
      case logLevel.INFO:
        log.debug(fields, line)
        break
      default:
        log.trace(fields, line)
    }
  }
}

/**
 * Connects once and asks who is there. Rejects within `timeoutMs` with ServiceAwayError when no broker answers, with a
 * MillraceError of kind `usage` when the credentials are refused.
 */
export async function checkKafka(
  kafka: Kafka,
  brokers: readonly string[],
  timeoutMs = 10_000,
): Promise<void> {
  await withAdmin(kafka, brokers, async (admin) => void (await admin.describeCluster()), timeoutMs)
}

/** Runs `work` with a connected admin client and closes it; translates errors and bounds the time as checkKafka does. */
export async function withAdmin<T>(
  kafka: Kafka,
  brokers: readonly string[],
  work: (admin: Admin) => Promise<T>,
  timeoutMs = 10_000,
): Promise<T> {
  // Few retries: this is used where somebody waits for the answer.
  const admin = kafka.admin({ retry: { ...RETRY, retries: 2 } })
  const run = async (): Promise<T> => {
    await admin.connect()
    return await work(admin)
  }
  try {
    return await within(run(), timeoutMs, () => new Error(`no answer within ${timeoutMs} ms`))
  } catch (error) {
    throw translate(error, brokers)
  } finally {
    // Not awaited: closing towards a broker that hangs would take the time we just bounded.
    admin.disconnect().catch(() => undefined)
  }
}

/** Turns kafkajs's errors into ours; what is ours already passes through. */
export function translate(error: unknown, brokers: readonly string[]): Error {
  if (error instanceof MillraceError) return error
  const name = error instanceof Error ? error.name : ''
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.name : ''
  if (name === 'KafkaJSSASLAuthenticationError' || cause === 'KafkaJSSASLAuthenticationError') {
    return new MillraceError(
      'KAFKA_CREDENTIALS',
      `Kafka at ${brokers.join(', ')} refuses the credentials (${messageOf(error, 200)}): check kafka.sasl`,
      { kind: 'usage', cause: error },
    )
  }
  return new ServiceAwayError(
    'kafka',
    `Kafka does not answer at ${brokers.join(', ')} (${messageOf(error, 200)}): check kafka.brokers, and whether the broker runs`,
    { cause: error },
  )
}
