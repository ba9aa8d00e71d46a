import { createHash } from 'node:crypto'
import { HEADERS, type Job, type JobMessage, originOf } from '../job/job.ts'
import type { FollowUp, ResultMessage } from '../job/outcome.ts'
import type { Reason } from '../job/reason.ts'
import { headerText, type OutRecord, type RecordHeaders, type SourceRecord } from '../job/record.ts'

/** Who writes: goes into the headers of retries and dead letters. */
export interface Writer {
  readonly group: string
  readonly version: string
}

export interface Trouble {
  readonly reason: Reason
  readonly message: string
  readonly attempts: number
  readonly throttled: number
}

const MESSAGE_LENGTH_MAX = 2000

/** A record that is given up: key, value and foreign headers byte for byte, and ours beside them. */
export function deadLetter(record: SourceRecord, trouble: Trouble, writer: Writer): OutRecord {
  const { [HEADERS.dueAt]: _due, [HEADERS.parkedAt]: _parked, ...headers } = record.headers
  return {
    key: record.key,
    value: record.value,
    headers: { ...headers, ...ourHeaders(record, trouble, writer) },
  }
}

/** How much of a value stays when the whole does not fit. */
const CUT_BYTES = 64 * 1024

/** The same record with only the beginning of its value, and a header that says how long it was. */
export function cutRecord(record: OutRecord): OutRecord {
  const { value, headers } = record
  if (value === null || value.length <= CUT_BYTES) return record
  return {
    ...record,
    value: value.subarray(0, CUT_BYTES),
    headers: { ...headers, [HEADERS.cut]: header(value.length) },
  }
}

/** What of a key or a header of ours stays when they are too large themselves. */
const SMALL_BYTES = 4 * 1024

/** The same, cut, with our headers alone, and with no key or header that is large: for a record of which those are the trouble. */
export function bareRecord(record: OutRecord): OutRecord {
  const { key, value, headers } = cutRecord(record)
  const isOurs = ([name, one]: [string, Buffer | readonly Buffer[]]) =>
    OUR_HEADERS.has(name) && Buffer.isBuffer(one) && one.length <= SMALL_BYTES
  return {
    key: key !== null && key.length > SMALL_BYTES ? null : key,
    value,
    headers: {
      // Said even of a value that is whole: the record is not.
      [HEADERS.cut]: header(value?.length ?? 0),
      ...Object.fromEntries(Object.entries(headers).filter(isOurs)),
    },
  }
}

const OUR_HEADERS: ReadonlySet<string> = new Set(Object.values(HEADERS))

/** A record that is to be tried again, not before `dueAtMs` (Unix ms). */
export function retryRecord(
  record: SourceRecord,
  trouble: Trouble & { dueAtMs: number },
  writer: Writer,
): OutRecord {
  return {
    key: record.key,
    value: record.value,
    headers: {
      ...record.headers,
      ...ourHeaders(record, trouble, writer),
      [HEADERS.dueAt]: header(trouble.dueAtMs),
    },
  }
}

/** A record that is put aside until its platform can take it. What it has behind it (attempts) stays as it is. */
export function parkedRecord(record: SourceRecord, nowMs: number): OutRecord {
  const { [HEADERS.dueAt]: _due, ...headers } = record.headers
  return {
    key: record.key,
    value: record.value,
    headers: { [HEADERS.parkedAt]: header(nowMs), ...headers, ...originHeaders(record) },
  }
}

/** First writer wins: originOf reads them where they are, and the record's own place where not. */
function originHeaders(record: SourceRecord): RecordHeaders {
  const origin = originOf(record)
  return {
    [HEADERS.originalTopic]: header(origin.topic),
    [HEADERS.originalPartition]: header(origin.partition),
    [HEADERS.originalOffset]: header(origin.offset),
    [HEADERS.originalTimestamp]: header(origin.timestampMs),
  }
}

function ourHeaders(record: SourceRecord, trouble: Trouble, writer: Writer): RecordHeaders {
  return {
    ...originHeaders(record),
    [HEADERS.reason]: header(trouble.reason),
    [HEADERS.message]: header(trouble.message.slice(0, MESSAGE_LENGTH_MAX)),
    [HEADERS.attempts]: header(trouble.attempts),
    [HEADERS.throttled]: header(trouble.throttled),
    [HEADERS.group]: header(writer.group),
    [HEADERS.version]: header(writer.version),
  }
}

const TRACE_HEADERS = ['traceparent', 'tracestate'] as const
/** As much as W3C asks to be passed on: what is longer would make results too large for their topic. */
const TRACE_LENGTH_MAX = 512

/** The producer's W3C trace context, for what follows from its record while nobody traces here. */
export function producersTrace({ headers }: SourceRecord): RecordHeaders {
  const kept: Record<string, Buffer> = {}
  for (const name of TRACE_HEADERS) {
    const text = headerText(headers, name)
    if (text !== undefined && text.length <= TRACE_LENGTH_MAX) kept[name] = header(text)
  }
  return kept
}

/**
 * The result of a job, keyed like the job so that one creator's results stay in order. `headers`: of its trace. `value`: the result
 * as JSON.
 */
export function resultRecord(
  result: ResultMessage,
  headers: RecordHeaders,
  value: Buffer = Buffer.from(JSON.stringify(result)),
): OutRecord {
  return { key: Buffer.from(`${result.platform}:${result.creator_id}`), value, headers }
}

/**
 * Follow-up jobs of a job. Ids derive from the parent's and the place in the list, so that a parent that is done twice
 * publishes the same jobs; logical time, expiry and unknown fields are the parent's unless the follow-up says otherwise. `headers`: of
 * the parent's trace.
 */
export function followUpRecords(
  parent: Job,
  followUps: readonly FollowUp[],
  headers: RecordHeaders,
): OutRecord[] {
  return followUps.map((followUp, index) => {
    const message: JobMessage = {
      ...parent.extra,
      platform: parent.platform,
      creator_id: parent.creatorId,
      priority: parent.priority,
      requested_at: new Date(parent.requestedAtMs).toISOString(),
      expires_at: new Date(parent.expiresAtMs).toISOString(),
      job_id: followUpId(parent.id, index),
      ...followUp,
    }
    return jobRecord(message, headers)
  })
}

/** Ids have a bound, and pages may follow pages for long: then a digest stands for the beginning. */
const ID_LENGTH_MAX = 200
const ID_LENGTH_KEPT = 120

function followUpId(parentId: string, index: number): string {
  const id = `${parentId}/${index}`
  if (id.length <= ID_LENGTH_MAX) return id
  const digest = createHash('sha256').update(id).digest('base64url')
  return `${id.slice(0, ID_LENGTH_KEPT)}~${digest}/${index}`
}

/** A job as a record: the key keeps a creator's jobs in one partition. */
export function jobRecord(message: JobMessage, headers: RecordHeaders = {}): OutRecord {
  return {
    key: Buffer.from(`${message.platform}:${message.creator_id}`),
    value: Buffer.from(JSON.stringify(message)),
    headers,
  }
}

/** The same job, of which somebody may ask how far it is. */
export function watchedRecord(message: JobMessage): OutRecord {
  const record = jobRecord(message)
  return { ...record, headers: { ...record.headers, [HEADERS.watched]: header(1) } }
}

function header(value: string | number): Buffer {
  return Buffer.from(String(value), 'utf8')
}
