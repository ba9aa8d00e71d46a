import { randomBytes } from 'node:crypto'
import type { IHeaders } from 'kafkajs'

/** A record that no producer should send, with what it is. */
export interface Hostile {
  readonly what: string
  readonly value: Buffer | null
  readonly headers?: IHeaders
}

const JOB = { platform: 'youtube', creator_id: '@ada', job_type: 'profile' }
const text = (value: string) => Buffer.from(value, 'utf8')
const json = (value: unknown) => text(JSON.stringify(value))

/** One of each kind in turn; `n` makes them differ. */
const KINDS: readonly ((n: number) => Hostile)[] = [
  () => ({ what: 'random bytes', value: randomBytes(1 + Math.floor(Math.random() * 900)) }),
  () => ({ what: 'a tombstone', value: null }),
  () => ({ what: 'an empty value', value: Buffer.alloc(0) }),
  (n) => ({ what: 'deep nesting', value: text('['.repeat(200 + (n % 3_000))) }),
  (n) => ({
    what: 'deep nesting that is closed',
    value: text(`${'{"a":'.repeat(100 + (n % 900))}1${'}'.repeat(100 + (n % 900))}`),
  }),
  (n) => ({ what: 'a job cut short', value: json({ ...JOB, n }).subarray(0, -2) }),
  () => ({ what: 'no object', value: text('null') }),
  (n) => ({
    what: 'a number beyond all numbers',
    value: text(`{"platform":"youtube","creator_id":1e999,"n":${n}}`),
  }),
  (n) => ({
    what: '__proto__',
    value: text(`{"__proto__":{"platform":"youtube","creator_id":"@ada","job_type":"profile"},"n":${n}}`),
  }),
  (n) => ({
    what: 'a platform of Object',
    value: json({ ...JOB, platform: ['constructor', '__proto__', 'toString'][n % 3] }),
  }),
  (n) => ({
    what: 'a job type of Object',
    value: json({ ...JOB, job_type: ['constructor', '__proto__', 'valueOf'][n % 3] }),
  }),
  (n) => ({ what: 'wrong types', value: json({ ...JOB, priority: [11, 0, 'high', 1.5, null, {}][n % 6] }) }),
  (n) => ({
    what: 'wrong types of names',
    value: json({ ...JOB, creator_id: [5, {}, [], '', 'x'.repeat(201)][n % 5] }),
  }),
  (n) => ({ what: 'params that are none', value: json({ ...JOB, params: [[], 'x', 5, null][n % 4] }) }),
  (n) => ({
    what: 'params of the wrong type',
    value: json({ ...JOB, job_type: 'full_profile_scrape', params: { pictures_max: 'many', n } }),
  }),
  (n) => ({
    what: 'duplicate keys',
    value: text(`{"platform":"youtube","creator_id":"@ada","job_type":"profile","creator_id":${n}}`),
  }),
  (n) => ({
    what: 'half a surrogate pair',
    value: text(`{"platform":"youtube","creator_id":"\\ud800${n}","job_type":"profile"}`),
  }),
  (n) => ({
    what: 'half a surrogate pair as an id',
    value: text(`{"platform":"youtube","creator_id":"@ada","job_type":"nothing","job_id":"\\udfff${n}"}`),
  }),
  (n) => ({
    what: 'a moment that no table holds',
    value: json({
      ...JOB,
      job_type: 'nothing',
      requested_at: ['0001-01-01T00:00:00Z', '9999-12-31T23:59:59Z', '1900-01-01T00:00:00+14:00'][n % 3],
    }),
  }),
  (n) => ({
    what: 'a moment that is none',
    value: json({ ...JOB, requested_at: ['yesterday', '2026-02-30T00:00:00Z', 5][n % 3] }),
  }),
  (n) => ({ what: 'expired since long', value: json({ ...JOB, expires_at: '1999-01-01T00:00:00Z', n }) }),
  (n) => ({ what: 'a creator that cannot be one', value: json({ ...JOB, creator_id: `../../${n}\u0000` }) }),
  () => ({ what: 'UTF-16', value: Buffer.from(JSON.stringify(JOB), 'utf16le') }),
  (n) => ({
    what: 'overlong UTF-8',
    value: Buffer.concat([json({ ...JOB, n }).subarray(0, -1), Buffer.from([0xc0, 0xaf, 0x7d])]),
  }),
  (n) => ({
    what: 'headers of ours, spoilt',
    value: json({ ...JOB, platform: 'nowhere' }),
    headers: {
      'millrace-attempts': ['999999999999', '-1', 'many', ''][n % 4]!,
      'millrace-due-at': '9999999999999999',
      'millrace-original-offset': 'x',
      'millrace-reason': 'none',
      constructor: 'x',
      __proto__x: Buffer.from([0xff]),
    },
  }),
  (n) => ({
    what: 'a failed job with more attempts than a table holds',
    value: json({ ...JOB, job_type: 'nothing', n }),
    headers: { 'millrace-attempts': '9999999999' },
  }),
]

/** The n-th hostile record. */
export function hostile(n: number): Hostile {
  return KINDS[n % KINDS.length]!(Math.floor(n / KINDS.length))
}

export const HOSTILE_KINDS = KINDS.length
