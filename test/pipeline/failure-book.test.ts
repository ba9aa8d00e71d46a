import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FailedJob, FailureBook } from '../../src/pipeline/failure-book.ts'

const at = (second: number) => new Date(second * 1_000).toISOString()
const failed = (fields: Partial<FailedJob>): FailedJob => ({
  ...{
    at: at(0),
    platform: 'tiktok',
    reason: 'timeout',
    message: 'm',
    outcome: 'retry',
    jobId: 'j',
    creatorId: 'c',
  },
  ...fields,
})

test('a flood of one reason does not wash away the others, and takes no room', () => {
  const book = new FailureBook()
  book.note(failed({ reason: 'unauthorized', at: at(1) }))
  for (let second = 2; second < 1_000; second++)
    book.note(failed({ at: at(second), message: 'x'.repeat(10_000) }))
  assert.deepEqual(
    book.newest.map(({ reason, at: when }) => [reason, when]),
    [
      ['timeout', at(999)],
      ['timeout', at(998)],
      ['timeout', at(997)],
      ['unauthorized', at(1)],
    ],
  )
  assert.equal(book.newest[0]?.message.length, 300)
})
