import assert from 'node:assert/strict'
import { test } from 'node:test'
import identity from '../../examples/identity-check/identity-check.ts'
import { AttemptError } from '../../src/job/errors.ts'
import { jobOf, jsonReply, reasonOf, recordedContext } from './recorded-context.ts'

const { check } = identity.jobs
const person = { family_name: 'Doe', given_names: 'Jo', birth_date: '1990-01-31' }
const done = { check_id: 'c1', status: 'verified', score: 0.97, checked_at: '2026-11-21T10:00:00Z' }

test('orders a check, waits for it, and returns the verdict without the person', async () => {
  const { context, calls } = recordedContext(identity, {
    order: [{ check_id: 'c1', status: 'pending', poll_after_s: 0.01 }],
    status: [{ check_id: 'c1', status: 'pending', poll_after_s: 0.01 }, done],
  })
  const harvest = await check.run(jobOf(check, 'AB-1234', person), context)
  assert.deepEqual(calls[0]?.json, { reference: 'job-1', customer: 'AB-1234', ...person })
  assert.deepEqual(
    calls.map((call) => call.endpoint),
    ['order', 'status', 'status'],
  )
  assert.deepEqual(harvest.data, {
    customer: 'AB-1234',
    check_id: 'c1',
    verdict: 'verified',
    score: 0.97,
    checked_at: '2026-11-21T10:00:00Z',
  })
})

test('gives up its place when the register takes longer than a run may wait', async () => {
  const { context } = recordedContext(identity, {
    order: [{ check_id: 'c1', status: 'pending', poll_after_s: 30 }],
  })
  await assert.rejects(
    check.run(jobOf(check, 'AB-1234', { ...person, wait_s_max: 10 }), context),
    (error) => {
      assert.ok(error instanceof AttemptError)
      assert.equal(error.reason, 'timeout')
      assert.equal(error.retryAfterMs, 30_000)
      return true
    },
  )
})

test('a retry orders with the same reference', async () => {
  const references = []
  for (const _attempt of [1, 2]) {
    const { context, calls } = recordedContext(identity, { order: [done] })
    await check.run(jobOf(check, 'AB-1234', person), context)
    references.push(calls[0]?.json)
  }
  assert.deepEqual(references[0], references[1])
})

test('reads what the register says in its own words', () => {
  const says = (type: string, more: object = {}) => ({ error: { type, message: 'm', ...more } })
  assert.equal(reasonOf(identity, jsonReply('order', 503, says('busy', { wait_s: 12 }))), 'rate_limited')
  assert.equal(
    identity.throttled?.(jsonReply('order', 503, says('busy', { wait_s: 12 })))?.retryAfterMs,
    12_000,
  )
  assert.equal(reasonOf(identity, jsonReply('order', 422, says('bad_order'))), 'invalid_params')
  assert.equal(reasonOf(identity, jsonReply('order', 401, says('token_expired'))), 'unauthorized')
  assert.equal(reasonOf(identity, jsonReply('order', 500, says('other'))), undefined)
})

test('normalises the customer reference, or says what one looks like', () => {
  assert.equal(identity.creatorId?.(' ab-1234 '), 'AB-1234')
  assert.throws(() => identity.creatorId?.('1234'), /expected a customer reference such as AB-1234/)
})
