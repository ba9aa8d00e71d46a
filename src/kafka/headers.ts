import type { IHeaders } from 'kafkajs'
import type { RecordHeaders } from '../job/record.ts'

/**
 * Headers as kafkajs gives them, in our shape. The bytes are copied: they are views into a whole fetch of up to some
 * megabytes, which one long-lived record would keep in memory.
 *
 * kafkajs collects them in a plain object, so a header named `constructor` arrives behind the object's inherited value;
 * whatever is no Buffer is dropped for that reason. Ours has no prototype. A null value becomes an empty one: kafkajs can
 * read null but not write it (its encoder throws a TypeError).
 */
export function fromKafkaHeaders(headers: IHeaders | undefined): RecordHeaders {
  const entries = Object.entries<unknown>(headers ?? {})
  if (entries.length === 0) return NONE
  const result: Record<string, Buffer | Buffer[]> = Object.create(null)
  for (const [name, given] of entries) {
    const values: Buffer[] = []
    for (const value of Array.isArray(given) ? given : [given]) {
      if (value === null) values.push(Buffer.alloc(0))
      else if (Buffer.isBuffer(value)) values.push(Buffer.from(value))
    }
    if (values.length > 0) result[name] = values.length === 1 ? values[0]! : values
  }
  return result
}

/** Most records have none, and an object without a prototype is a hash table. */
const NONE: RecordHeaders = Object.freeze(Object.create(null))

/** The way back; kafkajs's type merely lacks the `readonly`. */
export function toKafkaHeaders(headers: RecordHeaders): IHeaders {
  return headers as IHeaders
}
