import type { Kafka } from 'kafkajs'
import { MillraceError } from '../job/errors.ts'
import { type OffsetRange, rangesOf } from '../kafka/offset-range.ts'
import { RangeReader } from '../kafka/range-reader.ts'
import { type DeadLetters, spansOf, type Take } from './dead-letters.ts'
import type { LetterId } from './letter.ts'
import { Replayed } from './replayed.ts'

export interface KafkaLettersOptions {
  readonly brokers: readonly string[]
  /** The daemons' group; ours is named after it. */
  readonly group: string
  readonly dead: string
  readonly replayed: string
}

/** The dead letters of a topic, and the marks of another; without that one nothing was ever sent back. */
export class KafkaLetters implements DeadLetters {
  readonly name: string
  readonly #letters: readonly OffsetRange[]
  readonly #marks: readonly OffsetRange[]
  readonly #reader: RangeReader

  private constructor(
    name: string,
    { letters, marks }: { letters: readonly OffsetRange[]; marks: readonly OffsetRange[] },
    reader: RangeReader,
  ) {
    this.name = name
    this.#letters = letters
    this.#marks = marks
    this.#reader = reader
  }

  /** Rejects with ServiceAwayError when no broker answers, and with MillraceError of kind `usage` when the topic is missing. */
  static async open(options: KafkaLettersOptions, kafka: Kafka): Promise<KafkaLetters> {
    const { brokers, group, dead, replayed } = options
    const [letters, marks] = await rangesOf(kafka, brokers, [dead, replayed])
    if (letters === undefined) {
      throw new MillraceError(
        'KAFKA_TOPICS_MISSING',
        `Kafka at ${brokers.join(', ')} lacks the topic ${dead}: check kafka.dead_topic`,
        { kind: 'usage' },
      )
    }
    const topics = marks === undefined ? [dead] : [dead, replayed]
    const reader = new RangeReader({ brokers, groupPrefix: `${group}-dlq`, topics }, kafka)
    return new KafkaLetters(dead, { letters, marks: marks ?? [] }, reader)
  }

  async each(take: Take, signal: AbortSignal): Promise<void> {
    await this.#reader.read(this.#letters, take, signal)
  }

  async pick(ids: readonly LetterId[], take: Take, signal: AbortSignal): Promise<void> {
    const spans = spansOf(ids)
    const ranges = this.#letters.flatMap((range) => {
      const span = spans.get(range.partition)
      if (span === undefined) return []
      return [{ ...range, from: Math.max(range.from, span.from), to: Math.min(range.to, span.last + 1) }]
    })
    await this.#reader.read(
      ranges,
      (record) => (spans.get(record.partition)?.offsets.has(record.offset) ? take(record) : undefined),
      signal,
    )
  }

  async replayed(signal: AbortSignal): Promise<Replayed> {
    const marks = new Replayed()
    await this.#reader.read(this.#marks, (record) => marks.add(record), signal)
    return marks
  }

  async close(): Promise<void> {
    await this.#reader.stop()
  }
}
