import type { Reason } from './reason.ts'

/** How a failed start ends; the process's exit code follows from it (see cli/exit). */
export type FailureKind = 'failed' | 'usage' | 'service_away'

/**
 * A failure that a user is told about in one clear line, without a stack: what was found, what was expected, what to do.
 * `kind` decides the exit code. Library errors are translated into this once, at the adapter that met them.
 */
export class MillraceError extends Error {
  override readonly name: string = 'MillraceError'
  readonly code: string
  readonly kind: FailureKind

  constructor(code: string, message: string, options: { kind?: FailureKind; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.kind = options.kind ?? 'failed'
  }
}

/** A part we need (Kafka, Redis, ClickHouse, the store) did not answer. Retryable: the part may come back. */
export class ServiceAwayError extends MillraceError {
  override readonly name = 'ServiceAwayError'
  readonly service: Service

  constructor(service: Service, message: string, options: { cause?: unknown } = {}) {
    super('SERVICE_AWAY', message, { ...options, kind: 'service_away' })
    this.service = service
  }
}

export type Service = 'kafka' | 'redis' | 'clickhouse' | 'store' | 'simulator'

/**
 * An attempt that did not succeed, with the reason that decides what happens next. Thrown by the fetch engine and by
 * adapters; caught in one place (pipeline/attempt), which turns it into an outcome.
 */
export class AttemptError extends Error {
  override readonly name = 'AttemptError'
  readonly reason: Reason
  /** When the upstream said how long to wait: milliseconds from now. It wins over any back-off of ours. */
  readonly retryAfterMs: number | undefined
  /** The level that the upstream's "slow down" is about; blocks it for all daemons. */
  readonly blocks: 'endpoint' | 'credential' | 'platform' | undefined

  constructor(
    reason: Reason,
    message: string,
    options: {
      cause?: unknown
      retryAfterMs?: number | undefined
      blocks?: 'endpoint' | 'credential' | 'platform' | undefined
    } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.reason = reason
    this.retryAfterMs = options.retryAfterMs
    this.blocks = options.blocks
  }
}

/** The message of anything thrown, for a log line or a dead letter: one line, at most `lengthMax` characters. */
export function messageOf(error: unknown, lengthMax = 2000): string {
  const text = error instanceof Error ? error.message || error.name : String(error)
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > lengthMax ? `${line.slice(0, lengthMax - 1)}…` : line
}
