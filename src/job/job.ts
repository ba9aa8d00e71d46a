import { z } from 'zod'
import { headerText, type SourceRecord } from './record.ts'
import { TIME_MS_BELOW } from './row.ts'

/** A day: how long a job is worth doing when its producer does not say. */
const EXPIRES_AFTER_MS = 24 * 60 * 60 * 1000

const instant = z.iso.datetime({ offset: true })

/** One that the tables can hold: 32 bits of seconds. */
const logicalTime = instant.refine((text) => {
  const ms = Date.parse(text)
  return ms >= 0 && ms < TIME_MS_BELOW
}, 'expected a moment between 1970 and 2100')

/** A name that is kept: JSON can hold half a surrogate pair, which nothing behind us takes. */
const name = (length: number) =>
  z
    .string()
    .min(1)
    .max(length)
    .refine((text) => text.isWellFormed(), 'expected well-formed Unicode')

/**
 * A job as producers publish it: the value of a record on a jobs topic, JSON in UTF-8. Fields that are not named here are
 * kept and passed on.
 */
export const jobSchema = z
  .looseObject({
    platform: name(64).describe('A defined platform: instagram, youtube, tiktok, or one of your own.'),
    creator_id: name(200).describe("The platform's id or handle of the creator."),
    job_type: name(64).describe('What the adapter offers, e.g. full_profile_scrape, profile, media.'),
    priority: z.int().min(1).max(10).default(5).describe('10 first; old jobs age upwards, none starves.'),
    job_id: name(200).optional().describe('Default: derived from topic, partition and offset.'),
    requested_at: logicalTime
      .optional()
      .describe("RFC 3339. Default: the record's timestamp. It is the rows' logical time."),
    expires_at: instant
      .optional()
      .describe(
        'RFC 3339. Default: requested_at plus 24 hours; of a replayed dead letter, 24 hours from then.',
      ),
    params: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("The adapter's own, checked by its schema."),
  })
  .meta({ id: 'Job', title: 'A millrace job' })

/** A job on the wire. */
export type JobMessage = z.input<typeof jobSchema>

/** A job as the daemon works on it. Times in Unix ms. */
export interface Job {
  readonly id: string
  readonly platform: string
  readonly creatorId: string
  readonly type: string
  readonly priority: number
  readonly requestedAtMs: number
  readonly expiresAtMs: number
  readonly params: Readonly<Record<string, unknown>>
  /** Fields of the message that we do not know, passed on with results and follow-ups. */
  readonly extra: Readonly<Record<string, unknown>>
  /** Attempts that failed before, in earlier deliveries of this job. */
  readonly attempts: number
  /** Attempts that were throttled before, counted apart: they are not the job's fault. */
  readonly throttled: number
  /** When it was parked first, Unix ms: its age counts from there. */
  readonly parkedAtMs: number | undefined
  /** Which dead letter this is, sent back by hand; empty for a job that is not. */
  readonly replayOf: string
  /** Somebody may ask how far it is: who works on it says when it has begun. */
  readonly watched: boolean
  /** W3C trace context of the producer, if it sent one. */
  readonly traceparent: string | undefined
}

/** Names of the headers on retries and dead letters. */
export const HEADERS = {
  originalTopic: 'millrace-original-topic',
  originalPartition: 'millrace-original-partition',
  originalOffset: 'millrace-original-offset',
  originalTimestamp: 'millrace-original-timestamp',
  reason: 'millrace-reason',
  message: 'millrace-message',
  attempts: 'millrace-attempts',
  throttled: 'millrace-throttled',
  dueAt: 'millrace-due-at',
  /** When the record was put aside because its platform could not take it, Unix ms. */
  parkedAt: 'millrace-parked-at',
  /** Partition and offset of the dead letter that was sent back by hand, e.g. `3-1207`; the job is done anew. */
  replayOf: 'millrace-replay-of',
  /** When it was, Unix ms. */
  replayedAt: 'millrace-replayed-at',
  /** `1` on a job that was asked for through the API: whoever works on it says when it has begun. */
  watched: 'millrace-watched',
  group: 'millrace-group',
  version: 'millrace-version',
  /**
   * On a record whose value was too large to be held or passed on: how many bytes it really has. The value is its beginning;
   * the whole one stays where the original-* headers say. Such a record is no job any more.
   */
  cut: 'millrace-cut-bytes',
} as const

/** Where a record first stood: its own place, or, for a retry, the one its headers tell. */
export interface Origin {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
}

/** The first place of a record; headers of a retry win, and count only when all of them are there and sound. */
export function originOf(record: SourceRecord): Origin {
  const topic = headerText(record.headers, HEADERS.originalTopic)
  const partition = wholeNumber(headerText(record.headers, HEADERS.originalPartition))
  const offset = wholeNumber(headerText(record.headers, HEADERS.originalOffset))
  const timestampMs = wholeNumber(headerText(record.headers, HEADERS.originalTimestamp))
  if (topic === undefined || partition === undefined || offset === undefined || timestampMs === undefined) {
    return record
  }
  return { topic, partition, offset, timestampMs }
}

export type ParsedJob = { readonly job: Job } | { readonly malformed: string }

/** The largest value that is parsed as a job. Kafka's own default for a record is about 1 MB. */
const VALUE_BYTES_MAX = 1024 * 1024

/**
 * Reads a job from a record. Never throws: a record that is not a job yields `malformed` with what was found and what was
 * expected, at most 2,000 characters.
 */
export function parseJob(record: SourceRecord): ParsedJob {
  const { value } = record
  if (value === null || value.length === 0)
    return { malformed: 'The value is empty; expected a job in JSON.' }
  const cut = headerText(record.headers, HEADERS.cut)
  if (cut !== undefined) {
    return { malformed: `The value has ${cut.slice(0, 20)} bytes; expected at most ${VALUE_BYTES_MAX}.` }
  }
  if (value.length > VALUE_BYTES_MAX) {
    return { malformed: `The value has ${value.length} bytes; expected at most ${VALUE_BYTES_MAX}.` }
  }
  let text: string
  try {
    text = utf8.decode(value)
  } catch {
    return { malformed: 'The value is not UTF-8; expected a job in JSON.' }
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return {
      malformed: `The value is not JSON: ${error instanceof Error ? error.message.slice(0, 300) : ''}`,
    }
  }
  const parsed = jobSchema.safeParse(json)
  if (!parsed.success) return { malformed: describeIssues(parsed.error) }

  const { platform, creator_id, job_type, priority, job_id, requested_at, expires_at, params, ...extra } =
    parsed.data
  const origin = originOf(record)
  const requestedAtMs = requested_at === undefined ? origin.timestampMs : Date.parse(requested_at)
  const wantedAtMs = wholeNumber(headerText(record.headers, HEADERS.replayedAt)) ?? requestedAtMs
  return {
    job: {
      id: job_id ?? idAt(origin),
      platform,
      creatorId: creator_id,
      type: job_type,
      priority,
      requestedAtMs,
      expiresAtMs: expires_at === undefined ? wantedAtMs + EXPIRES_AFTER_MS : Date.parse(expires_at),
      params: params ?? {},
      extra,
      attempts: wholeNumber(headerText(record.headers, HEADERS.attempts)) ?? 0,
      throttled: wholeNumber(headerText(record.headers, HEADERS.throttled)) ?? 0,
      parkedAtMs: wholeNumber(headerText(record.headers, HEADERS.parkedAt)),
      replayOf: headerText(record.headers, HEADERS.replayOf) ?? '',
      watched: HEADERS.watched in record.headers,
      traceparent: headerText(record.headers, 'traceparent'),
    },
  }
}

/** The id of a job whose producer gave it none, and of a record that is no job: its first place. */
export function defaultIdOf(record: SourceRecord): string {
  return idAt(originOf(record))
}

function idAt({ topic, partition, offset }: Origin): string {
  return `${topic}-${partition}-${offset}`
}

/** All problems of a value that a schema refused, in one line: path, what was wrong. */
export function describeIssues(error: z.ZodError): string {
  const lines = error.issues.slice(0, 8).map((issue) => {
    const path = issue.path.map(String).join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  return lines.join('; ').slice(0, 2000)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : undefined
}
