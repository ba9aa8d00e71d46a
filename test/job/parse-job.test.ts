import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HEADERS, parseJob } from '../../src/job/job.ts'
import type { SourceRecord } from '../../src/job/record.ts'

function recordOf(value: Buffer | string | null, headers: SourceRecord['headers'] = {}): SourceRecord {
  return {
    topic: 'millrace.jobs',
    partition: 3,
    offset: 41,
    timestampMs: 1_700_000_000_000,
    key: null,
    value: typeof value === 'string' ? Buffer.from(value) : value,
    headers,
  }
}

const JOB = { platform: 'youtube', creator_id: 'UC1', job_type: 'profile' }

test('fills in what the producer left out from the record', () => {
  const parsed = parseJob(recordOf(JSON.stringify(JOB)))
  assert.ok('job' in parsed)
  assert.equal(parsed.job.id, 'millrace.jobs-3-41')
  assert.equal(parsed.job.priority, 5)
  assert.equal(parsed.job.requestedAtMs, 1_700_000_000_000)
  assert.equal(parsed.job.expiresAtMs, 1_700_000_000_000 + 86_400_000)
})

test('a retry keeps the identity and the time of its first record, and its attempts', () => {
  const headers = {
    [HEADERS.originalTopic]: Buffer.from('jobs.a'),
    [HEADERS.originalPartition]: Buffer.from('7'),
    [HEADERS.originalOffset]: Buffer.from('99'),
    [HEADERS.originalTimestamp]: Buffer.from('1600000000000'),
    [HEADERS.attempts]: Buffer.from('2'),
  }
  const parsed = parseJob(recordOf(JSON.stringify(JOB), headers))
  assert.ok('job' in parsed)
  assert.equal(parsed.job.id, 'jobs.a-7-99')
  assert.equal(parsed.job.requestedAtMs, 1_600_000_000_000)
  assert.equal(parsed.job.attempts, 2)
})

test('keeps unknown fields to be passed on', () => {
  const parsed = parseJob(recordOf(JSON.stringify({ ...JOB, campaign: 'spring' })))
  assert.ok('job' in parsed)
  assert.deepEqual(parsed.job.extra, { campaign: 'spring' })
})

for (const [name, value, expected] of [
  ['nothing', null, /empty/],
  ['text', 'hello', /not JSON/],
  ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0x00]), /not UTF-8/],
  ['a list', '[]', /expected/i],
  ['a missing field', '{"platform":"youtube","job_type":"x"}', /creator_id/],
  ['a priority out of range', JSON.stringify({ ...JOB, priority: 11 }), /priority/],
  ['a date that is none', JSON.stringify({ ...JOB, requested_at: 'yesterday' }), /requested_at/],
  ['an endless creator', JSON.stringify({ ...JOB, creator_id: 'x'.repeat(201) }), /creator_id/],
  ['params that are a list', JSON.stringify({ ...JOB, params: [] }), /params/],
  ['more than a megabyte', `"${'x'.repeat(1_100_000)}"`, /bytes/],
] as const) {
  test(`says what is wrong with ${name}`, () => {
    const parsed = parseJob(recordOf(value))
    assert.ok('malformed' in parsed)
    assert.match(parsed.malformed, expected)
    assert.ok(parsed.malformed.length <= 2000)
  })
}

test('never throws, whatever the bytes, and never touches a prototype', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 200 }).map(Buffer.from), fc.json().map(Buffer.from)),
      (value) => {
        const parsed = parseJob(recordOf(value))
        assert.ok('job' in parsed || parsed.malformed !== '')
      },
    ),
    { numRuns: 500 },
  )
  parseJob(recordOf(`{"__proto__":{"polluted":1},"platform":"a","creator_id":"b","job_type":"c"}`))
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
})
