import type { IHeaders, KafkaMessage } from 'kafkajs'
import type { SourceRecord } from '../job/record.ts'
import { fromKafkaHeaders } from './headers.ts'

/**
 * A record of ours from kafkajs's. Copies the bytes: kafkajs's are views into the whole fetch, which one long-lived job
 * would keep in memory.
 */
export function fromMessage(
  partition: { readonly topic: string; readonly partition: number },
  message: KafkaMessage,
): SourceRecord {
  return {
    ...partition,
    offset: Number(message.offset),
    timestampMs: Number(message.timestamp),
    key: message.key === null ? null : Buffer.from(message.key),
    value: message.value === null ? null : Buffer.from(message.value),
    headers: fromKafkaHeaders(message.headers as IHeaders | undefined),
  }
}
