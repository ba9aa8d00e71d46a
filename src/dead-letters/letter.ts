import { HEADERS, originOf } from '../job/job.ts'
import { headerText, type SourceRecord } from '../job/record.ts'

/** Where a dead letter stands. Written `<partition>-<offset>`: `3-1207`. */
export interface LetterId {
  readonly partition: number
  readonly offset: number
}

/** A dead letter: the record as it stands in the dead topic, and what its headers and value say about it. */
export interface Letter {
  readonly id: LetterId
  readonly record: SourceRecord
  /** Of the job, as its producer wrote it; of what is no job, what its key begins with, or `unknown`. At most 64 characters. */
  readonly platform: string
  /** A code of REASONS, or `unknown` when the record says none. */
  readonly reason: string
  /** What was found and what was expected; may hold any character. */
  readonly message: string
  /** When it was given up, Unix ms. */
  readonly atMs: number
}

const NAME_LENGTH_MAX = 64

export function letterOf(record: SourceRecord): Letter {
  return {
    id: { partition: record.partition, offset: record.offset },
    record,
    platform: platformOf(record),
    reason: headerText(record.headers, HEADERS.reason)?.slice(0, NAME_LENGTH_MAX) || 'unknown',
    message: headerText(record.headers, HEADERS.message) ?? '',
    atMs: record.timestampMs,
  }
}

/** The job that a letter was, as one text: letters with the same one are of the same job. */
export function originText(record: SourceRecord): string {
  const { topic, partition, offset } = originOf(record)
  return `${topic}/${partition}/${offset}`
}

export function idText({ partition, offset }: LetterId): string {
  return `${partition}-${offset}`
}

/** Undefined when the text is no id. */
export function parseId(text: string): LetterId | undefined {
  const match = /^(\d{1,9})-(\d{1,16})$/.exec(text)
  if (match === null) return undefined
  const [partition, offset] = [Number(match[1]), Number(match[2])]
  return Number.isSafeInteger(offset) ? { partition, offset } : undefined
}

/** The value as JSON, or undefined when it is none. */
export function jsonOf(value: Buffer | null): unknown {
  if (value === null) return undefined
  try {
    return JSON.parse(utf8.decode(value))
  } catch {
    return undefined
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

function platformOf({ key, value }: SourceRecord): string {
  const json = jsonOf(value)
  const named =
    typeof json === 'object' && json !== null ? (json as { platform?: unknown }).platform : undefined
  if (typeof named === 'string' && named !== '') return named.slice(0, NAME_LENGTH_MAX)
  // Producers are asked to key jobs `platform:creator_id`.
  const keyed = key === null ? null : /^([^:]{1,64}):/.exec(key.toString('utf8'))
  return keyed?.[1] ?? 'unknown'
}
