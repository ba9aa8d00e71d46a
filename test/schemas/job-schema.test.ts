import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jobSchema } from '../../src/job/job.ts'
import { readSchema, validator } from './validator.ts'

const check = validator(readSchema('job.schema.json'))
const job = { platform: 'youtube', creator_id: '@nasa', job_type: 'profile' }

const values: readonly (readonly [string, unknown])[] = [
  ['the least', job],
  ['everything', { ...job, priority: 10, job_id: 'a', params: { pictures_max: 1 }, campaign: 'spring' }],
  ['a time with an offset', { ...job, requested_at: '2026-11-21T10:00:00+01:00' }],
  ['a time without an offset', { ...job, requested_at: '2026-11-21T10:00:00' }],
  ['a day that is none', { ...job, expires_at: '2026-02-30T10:00:00Z' }],
  ['no creator', { platform: 'youtube', job_type: 'profile' }],
  ['an empty creator', { ...job, creator_id: '' }],
  ['a creator of 201 characters', { ...job, creator_id: 'x'.repeat(201) }],
  ['a creator that is a number', { ...job, creator_id: 17 }],
  ['priority 0', { ...job, priority: 0 }],
  ['priority 5.5', { ...job, priority: 5.5 }],
  ['params that are a list', { ...job, params: [] }],
  ['a list', [job]],
  ['null', null],
]

for (const [name, value] of values) {
  test(`the published schema and the daemon agree on ${name}`, () => {
    assert.equal(check(value), jobSchema.safeParse(value).success, JSON.stringify(check.errors))
  })
}
