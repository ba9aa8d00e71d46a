import kafkajs, { type Kafka, type Producer } from 'kafkajs'
import { MillraceError, messageOf } from '../job/errors.ts'
import type { OutRecord, Publisher } from '../job/record.ts'
import { checkKafka, RETRY, translate } from '../kafka/client.ts'
import { toKafkaHeaders } from '../kafka/headers.ts'
import { keyPartitioner } from '../kafka/partitioner.ts'
import { within } from '../lib/within.ts'
import type { Log } from '../telemetry/log.ts'
import { Outbox, type OutboxOptions, type Sent } from './outbox.ts'

export interface KafkaPublisherOptions {
  readonly brokers: readonly string[]
  /** Default 5. More gathers larger batches, and every job's end waits that much longer. */
  readonly lingerMs?: number
  /** Default 200: kafkajs encodes a batch in one go, and everything else waits for it. */
  readonly batchRecordsMax?: number
  /** Default 256 KiB, a quarter of what brokers take in one batch by default. */
  readonly batchBytesMax?: number
  /** Per topic. Default 16 MiB. */
  readonly bufferBytesMax?: number
  /** Default false: the network is rarely what is short, and the CPU is shared with resizing. */
  readonly gzip?: boolean
  /** How long a stop tries to send what is left. Default 5,000. */
  readonly stopTimeoutMs?: number
}

/** A send that takes longer than this is not healthy any more, whatever becomes of it. */
const SLOW_MS = 2_000
/** How often an unhealthy, idle publisher asks whether Kafka is back. */
const PROBE_EVERY_MS = 1_000

/**
 * Publishes to Kafka, acknowledged by all in-sync replicas. One outbox per topic, so that a missing topic holds up no other.
 *
 * Not idempotent in Kafka's sense, on purpose: kafkajs takes back the sequence number of a batch whose reply was lost, and
 * a later batch with the same number and count would be dropped by the broker as a repetition, with its acknowledgement
 * given. A batch may therefore be published twice when a broker dies at the wrong moment; consumers go by `job_id`.
 */
export class KafkaPublisher implements Publisher {
  readonly #options: KafkaPublisherOptions
  readonly #outboxOptions: OutboxOptions
  readonly #kafka: Kafka
  readonly #producer: Producer
  readonly #log: Log
  readonly #outboxes = new Map<string, Outbox>()
  readonly #sendsSince = new Map<string, number>()
  #probe: NodeJS.Timeout | undefined
  #probedAway = false
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  constructor(options: KafkaPublisherOptions, kafka: Kafka, log: Log) {
    this.#options = options
    this.#outboxOptions = {
      lingerMs: options.lingerMs ?? 5,
      batchRecordsMax: options.batchRecordsMax ?? 200,
      batchBytesMax: options.batchBytesMax ?? 256 * 1024,
      bufferBytesMax: options.bufferBytesMax ?? 16 * 1024 * 1024,
    }
    this.#kafka = kafka
    this.#log = log
    this.#producer = kafka.producer({
      createPartitioner: keyPartitioner,
      allowAutoTopicCreation: false,
      // Short: the outbox tries again for as long as it takes, and `healthy` should tell soon.
      retry: { ...RETRY, retries: 2 },
    })
  }

  /** Rejects with ServiceAwayError when no broker answers. */
  async start(): Promise<void> {
    this.#started ??= this.#start()
    await this.#started
  }

  get healthy(): boolean {
    if (this.#probedAway) return false
    for (const since of this.#sendsSince.values()) if (performance.now() - since > SLOW_MS) return false
    for (const outbox of this.#outboxes.values())
      if (outbox.away !== undefined && !outbox.isEmpty) return false
    return true
  }

  async publish(topic: string, records: readonly OutRecord[], signal: AbortSignal): Promise<void> {
    if (this.#stopped !== undefined) throw new MillraceError('PUBLISHER_STOPPED', 'the publisher is stopped')
    await this.#outbox(topic).publish(records, signal)
  }

  async stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    await this.#stopped
  }

  async #start(): Promise<void> {
    try {
      await within(this.#producer.connect(), 10_000, () => new Error('no answer within 10 s'))
    } catch (error) {
      throw translate(error, this.#options.brokers)
    }
    this.#probe = setInterval(() => void this.#probeOnce(), PROBE_EVERY_MS)
    this.#probe.unref()
  }

  async #stop(): Promise<void> {
    const timeoutMs = this.#options.stopTimeoutMs ?? 5_000
    const giveUp = AbortSignal.timeout(timeoutMs)
    await Promise.all([...this.#outboxes.values()].map((outbox) => outbox.flush(giveUp)))
    clearInterval(this.#probe)
    await within(this.#producer.disconnect(), timeoutMs, () => new Error('late')).catch(() => undefined)
  }

  #outbox(topic: string): Outbox {
    let outbox = this.#outboxes.get(topic)
    if (outbox === undefined) {
      outbox = new Outbox(topic, this.#outboxOptions, (name, records) => this.#send(name, records), this.#log)
      this.#outboxes.set(topic, outbox)
    }
    return outbox
  }

  async #send(topic: string, records: readonly OutRecord[]): Promise<Sent> {
    this.#sendsSince.set(topic, performance.now())
    try {
      await this.#producer.send({
        topic,
        acks: -1,
        compression:
          this.#options.gzip === true ? kafkajs.CompressionTypes.GZIP : kafkajs.CompressionTypes.None,
        messages: records.map(({ key, value, headers }) => ({
          key,
          value,
          headers: toKafkaHeaders(headers),
        })),
      })
      return 'ok'
    } catch (error) {
      const type = typeOf(error)
      if (type === 'MESSAGE_TOO_LARGE' || type === 'RECORD_LIST_TOO_LARGE' || type === 'INVALID_RECORD') {
        return {
          refused: new MillraceError(
            'RECORD_REFUSED',
            `Kafka refuses a record for ${topic} (${messageOf(error, 200)}): raise max.message.bytes of the topic`,
            { cause: error },
          ),
        }
      }
      return { away: error instanceof Error ? error : new Error(String(error)) }
    } finally {
      this.#sendsSince.delete(topic)
    }
  }

  /**
   * When everybody who waited has gone, nothing would ever be sent again that could tell that Kafka is back: so ask. (The
   * daemon holds its intake while we are unhealthy, so nothing new comes either.)
   */
  async #probeOnce(): Promise<void> {
    const idleAndAway = [...this.#outboxes.values()].some(
      (outbox) => outbox.away !== undefined && outbox.isEmpty,
    )
    if (!idleAndAway && !this.#probedAway) return
    try {
      await checkKafka(this.#kafka, this.#options.brokers, PROBE_EVERY_MS * 3)
      this.#probedAway = false
      for (const outbox of this.#outboxes.values()) outbox.forgetAway()
    } catch {
      this.#probedAway = true
    }
  }
}

/** The protocol error behind what kafkajs throws, which wraps it when its retries are used up. */
function typeOf(error: unknown): string | undefined {
  let at: unknown = error
  while (at instanceof Error) {
    const { type } = at as { type?: unknown }
    if (typeof type === 'string') return type
    at = at.cause
  }
  return undefined
}
