/**
 * Headers of a record, in Kafka's sense: a name may repeat, so a value may be a list. Bytes are passed on as they came.
 */
export type RecordHeaders = Readonly<Record<string, Buffer | readonly Buffer[]>>

/** One record as a source delivered it. Its bytes are the producer's and are never changed. */
export interface SourceRecord {
  readonly topic: string
  readonly partition: number
  /** Position in the partition. A number: exact up to 2^53, which is 285 years at a million records a second. */
  readonly offset: number
  /** When the producer published it, in Unix milliseconds. */
  readonly timestampMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: RecordHeaders
}

/** A record to be published. `key` decides the partition; null lets the publisher choose. */
export interface OutRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: RecordHeaders
}

/**
 * A record on its way through the pipeline, with its acknowledgement: the one who took it must call `settle` exactly
 * once, when everything that follows from the record has been acknowledged by those who store it. Only then may its
 * offset be committed. Never settling means the record is delivered again, to us or to another daemon.
 */
export interface Delivery {
  readonly record: SourceRecord
  /** What it takes in memory. */
  readonly bytes: number
  /**
   * True when its partition has come half as far ahead of its oldest unfinished record as it may: at the whole way nothing of it is
   * taken in any more, so what can be put elsewhere should be.
   */
  readonly holdsUp: boolean
  /** Idempotent. */
  settle(): void
  /**
   * Aborted when the partition is lost: whoever works on the record may stop, its new owner starts afresh. Shared by all
   * records of an assignment, thousands of them: listen with lib/abort.
   */
  readonly lost: AbortSignal
}

/** Where records are published: results, retries, dead letters, follow-up jobs. */
export interface Publisher {
  /**
   * Publishes in order and resolves when all of it is acknowledged (Kafka: by all in-sync replicas; files: written and
   * flushed). While the service is away it waits and tries again; it rejects only when `signal` is aborted or the
   * records can never be accepted. Safe to call concurrently: calls are batched.
   */
  publish(topic: string, records: readonly OutRecord[], signal: AbortSignal): Promise<void>
  /** False while the service does not take records; for readiness. */
  readonly healthy: boolean
  start(): Promise<void>
  /** Sends what is still buffered, then closes. */
  stop(): Promise<void>
}

/** The first value of a header as text, or undefined. */
export function headerText(headers: RecordHeaders, name: string): string | undefined {
  const value = headers[name]
  if (value === undefined) return undefined
  return (Buffer.isBuffer(value) ? value : value[0])?.toString('utf8')
}
