import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AttemptError } from '../../src/job/errors.ts'
import { REASONS, type Reason } from '../../src/job/reason.ts'
import { judge, type RetryPolicy, type Tally } from '../../src/pipeline/retry-policy.ts'

const POLICY: RetryPolicy = {
  attemptsMax: 3,
  baseMs: 1000,
  ceilingMs: 60_000,
  inPlaceMaxMs: 5000,
  throttledMax: 10,
}
const fresh = (): Tally => ({ attempts: 0, throttled: 0, badResponses: 0 })
const half = () => 0.5

test('a time-out is tried three times in all, with doubling spread', () => {
  const tally = fresh()
  const error = new AttemptError('timeout', 'slow')
  assert.deepEqual(judge(error, tally, POLICY, half), { next: 'again', delayMs: 500 })
  assert.deepEqual(judge(error, tally, POLICY, half), { next: 'again', delayMs: 1000 })
  assert.deepEqual(judge(error, tally, POLICY, half), { next: 'dead' })
})

test('what the upstream asked for wins over the back-off, and a long wait leaves by the retry topic', () => {
  const short = new AttemptError('upstream_error', '503', { retryAfterMs: 4000 })
  assert.deepEqual(judge(short, fresh(), POLICY, half), { next: 'again', delayMs: 4000 })
  const long = new AttemptError('upstream_error', '503', { retryAfterMs: 5001 })
  assert.deepEqual(judge(long, fresh(), POLICY, half), { next: 'retry_topic', delayMs: 5001 })
})

test('ten throttled attempts are not held against a job, more are', () => {
  const tally = fresh()
  const error = new AttemptError('rate_limited', '429', { retryAfterMs: 10 })
  for (let i = 0; i < 10; i++) assert.equal(judge(error, tally, POLICY, half).next, 'again')
  assert.equal(tally.attempts, 0)
  for (let i = 0; i < 2; i++) assert.equal(judge(error, tally, POLICY, half).next, 'again')
  assert.equal(judge(error, tally, POLICY, half).next, 'dead')
})

test('a spent daily quota is never a failure', () => {
  const tally = fresh()
  const error = new AttemptError('quota_exhausted', 'spent', { retryAfterMs: 3_600_000 })
  for (let i = 0; i < 50; i++) assert.equal(judge(error, tally, POLICY, half).next, 'retry_topic')
})

test('a bad response is looked at twice', () => {
  const tally = fresh()
  const error = new AttemptError('bad_response', 'html')
  assert.equal(judge(error, tally, POLICY, half).next, 'again')
  assert.equal(judge(error, tally, POLICY, half).next, 'dead')
})

test('attempts of earlier deliveries count', () => {
  assert.equal(judge(new AttemptError('timeout', ''), { ...fresh(), attempts: 2 }, POLICY, half).next, 'dead')
})

test('content and refused credentials are given up at once', () => {
  for (const reason of Object.keys(REASONS) as Reason[]) {
    const { kind } = REASONS[reason]
    if (kind === 'transient' || kind === 'throttle' || reason === 'connection') continue
    assert.deepEqual(judge(new AttemptError(reason, ''), fresh(), POLICY, half), { next: 'dead' }, reason)
  }
})
