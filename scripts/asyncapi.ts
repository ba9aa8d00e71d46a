import { HEADERS } from '../src/job/job.ts'
import { REASONS } from '../src/job/reason.ts'

type HeaderName = (typeof HEADERS)[keyof typeof HEADERS]

const WHOLE = '^[0-9]{1,16}$'

/** Every header of ours: what it says, and, where it is no free text, its form. Values are text in UTF-8. */
const HEADER_SCHEMAS: Readonly<Record<HeaderName, Readonly<Record<string, unknown>>>> = {
  [HEADERS.originalTopic]: { description: 'Where the record first stood. First writer wins.' },
  [HEADERS.originalPartition]: { description: 'The partition there.', pattern: WHOLE },
  [HEADERS.originalOffset]: { description: 'The offset there.', pattern: WHOLE },
  [HEADERS.originalTimestamp]: { description: 'The timestamp there, Unix ms.', pattern: WHOLE },
  [HEADERS.reason]: { description: 'Why, a code of docs/reasons.md.', enum: Object.keys(REASONS) },
  [HEADERS.message]: { description: 'What was found and what was expected.', maxLength: 2000 },
  [HEADERS.attempts]: { description: 'Attempts that failed.', pattern: WHOLE },
  [HEADERS.throttled]: { description: 'Attempts that the platform put off, counted apart.', pattern: WHOLE },
  [HEADERS.dueAt]: { description: 'Not to be tried again before, Unix ms.', pattern: WHOLE },
  [HEADERS.parkedAt]: { description: 'When it was put aside first, Unix ms.', pattern: WHOLE },
  [HEADERS.replayOf]: {
    description: 'Partition and offset of the dead letter that was sent back by hand; the job is done anew.',
    pattern: '^[0-9]+-[0-9]+$',
  },
  [HEADERS.replayedAt]: { description: 'When it was sent back, Unix ms.', pattern: WHOLE },
  [HEADERS.watched]: {
    description:
      '`1` on a job that was asked for through the API: whoever works on it says when it has begun.',
  },
  [HEADERS.group]: { description: 'The consumer group that wrote this.' },
  [HEADERS.version]: { description: 'The version of millrace that wrote this.' },
  [HEADERS.cut]: {
    description: 'How many bytes the value had, when it was too large to be passed on; it is the beginning.',
    pattern: WHOLE,
  },
}

const ORIGIN = [
  HEADERS.originalTopic,
  HEADERS.originalPartition,
  HEADERS.originalOffset,
  HEADERS.originalTimestamp,
] as const
const TROUBLE = [
  HEADERS.reason,
  HEADERS.message,
  HEADERS.attempts,
  HEADERS.throttled,
  HEADERS.group,
  HEADERS.version,
] as const
const REPLAY = [HEADERS.replayOf, HEADERS.replayedAt] as const

const WATCHED = [HEADERS.watched] as const

const TRACE_CONTEXT = {
  traceparent: {
    type: 'string',
    description: 'W3C trace context of the producer; results and follow-up jobs carry it on.',
    pattern: '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$',
  },
  tracestate: { type: 'string', description: 'What goes with `traceparent`, where its producer sent it.' },
}

/** Headers of the producer's own are kept, so others may stand beside these. */
function headers(required: readonly HeaderName[], optional: readonly HeaderName[]): unknown {
  const named = [...required, ...optional].map((name) => [name, { type: 'string', ...HEADER_SCHEMAS[name] }])
  return {
    type: 'object',
    properties: { ...Object.fromEntries(named), ...TRACE_CONTEXT },
    ...(required.length === 0 ? {} : { required }),
  }
}

const CREATOR_KEY = {
  type: 'string',
  description:
    '`platform:creator_id`: a creator’s records stay in one partition. Use murmur2, as Java’s producers do.',
}
const ANY_BYTES = { description: 'The bytes of the record as it was published; they need not be a job.' }

/** The AsyncAPI 3 document: every topic under its default name, what stands on it, and who writes and reads it. */
export function asyncApi(): unknown {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'millrace',
      version: '1',
      description:
        'Jobs in, results out. Topics have their default names here; the section `kafka` of the configuration changes them.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/json',
    channels: {
      jobs: {
        address: 'millrace.jobs',
        description: '`kafka.topics` may name several; one per platform is a good habit.',
        messages: { job: { $ref: '#/components/messages/job' } },
      },
      results: {
        address: 'millrace.results',
        description: 'One result for each job. A job delivered again sends the same one, `replayed`.',
        messages: { result: { $ref: '#/components/messages/result' } },
      },
      retry: {
        address: 'millrace.retry.{delay}',
        description: 'Jobs that are tried again when they are due. The daemons’ own: others only read it.',
        parameters: {
          delay: { description: 'One topic for each of `retry.delays`.', examples: ['30s', '5m', '1h'] },
        },
        messages: { retry: { $ref: '#/components/messages/retry' } },
      },
      parked: {
        address: 'millrace.parked.{platform}',
        description: 'Jobs put aside because their platform cannot take them now. The daemons’ own.',
        parameters: {
          platform: {
            description: 'One topic for each platform.',
            examples: ['instagram', 'youtube', 'tiktok'],
          },
        },
        messages: { parked: { $ref: '#/components/messages/parked' } },
      },
      dead: {
        address: 'millrace.dead',
        description: 'Records that were given up: key, value and headers byte for byte, ours beside them.',
        messages: { deadLetter: { $ref: '#/components/messages/deadLetter' } },
      },
      replayed: {
        address: 'millrace.replayed',
        description: 'Which dead letters `millrace dlq replay` has sent back. Compacted, one partition.',
        messages: { replayed: { $ref: '#/components/messages/replayed' } },
      },
    },
    operations: {
      takeJobs: { action: 'receive', channel: { $ref: '#/channels/jobs' } },
      takeRetries: { action: 'receive', channel: { $ref: '#/channels/retry' } },
      takeParked: { action: 'receive', channel: { $ref: '#/channels/parked' } },
      publishResults: { action: 'send', channel: { $ref: '#/channels/results' } },
      publishFollowUps: { action: 'send', channel: { $ref: '#/channels/jobs' } },
      tryAgain: { action: 'send', channel: { $ref: '#/channels/retry' } },
      park: { action: 'send', channel: { $ref: '#/channels/parked' } },
      giveUp: { action: 'send', channel: { $ref: '#/channels/dead' } },
      rememberReplays: { action: 'send', channel: { $ref: '#/channels/replayed' } },
    },
    components: {
      messages: {
        job: {
          summary: 'A job, as producers publish it. A dead letter that was sent back stands here too.',
          headers: headers([], [...REPLAY, ...ORIGIN, ...WATCHED]),
          payload: { $ref: './job.schema.json' },
          bindings: { kafka: { key: CREATOR_KEY, bindingVersion: '0.5.0' } },
          examples: [
            {
              name: 'profile with pictures',
              payload: {
                platform: 'youtube',
                creator_id: '@nasa',
                job_type: 'full_profile_scrape',
                priority: 7,
                requested_at: '2026-11-21T10:00:00Z',
              },
            },
          ],
        },
        result: {
          summary: 'How a job ended.',
          headers: headers([], []),
          payload: { $ref: './result.schema.json' },
          bindings: { kafka: { key: CREATOR_KEY, bindingVersion: '0.5.0' } },
        },
        retry: {
          summary: 'The record as it was published, and when it is due.',
          headers: headers([...ORIGIN, ...TROUBLE, HEADERS.dueAt], [...REPLAY, ...WATCHED]),
          payload: { $ref: './job.schema.json' },
        },
        parked: {
          summary: 'The record as it was published, and since when it waits.',
          headers: headers([...ORIGIN, HEADERS.parkedAt], [...TROUBLE, ...REPLAY, ...WATCHED]),
          payload: { $ref: './job.schema.json' },
        },
        deadLetter: {
          summary: 'The record as it was published, and why it was given up.',
          headers: headers([...ORIGIN, ...TROUBLE], [...REPLAY, ...WATCHED, HEADERS.cut]),
          contentType: 'application/octet-stream',
          payload: ANY_BYTES,
        },
        replayed: {
          summary: 'A mark: this dead letter was sent back. A mark without a value takes it back.',
          payload: {
            type: 'object',
            required: ['topic', 'replayed_at', 'dead_at'],
            properties: {
              topic: { type: 'string', description: 'Where it was sent.' },
              replayed_at: { type: 'string', format: 'date-time' },
              dead_at: {
                type: 'string',
                format: 'date-time',
                description: 'When the letter was written: the topic may have been made anew since.',
              },
            },
          },
          bindings: {
            kafka: {
              key: { type: 'string', description: 'Partition and offset of the dead letter: `3-1207`.' },
              bindingVersion: '0.5.0',
            },
          },
        },
      },
    },
  }
}
