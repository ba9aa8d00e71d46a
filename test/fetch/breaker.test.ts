import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Breaker, REFUSED } from '../../src/fetch/breaker.ts'

function run(breaker: Breaker, results: readonly boolean[], nowMs: number): void {
  for (const ok of results) breaker.record(breaker.admit(nowMs), !ok, nowMs)
}
const failed = (count: number) => Array.from({ length: count }, () => false)
const fine = (count: number) => Array.from({ length: count }, () => true)

test('opens when more than half of at least 20 calls failed, not earlier', () => {
  const changes: boolean[] = []
  const breaker = new Breaker({ onChange: (open) => changes.push(open) })
  run(breaker, failed(19), 1_000)
  assert.equal(breaker.state, 'closed')
  run(breaker, failed(1), 1_000)
  assert.equal(breaker.state, 'open')
  assert.equal(breaker.room(1_000), 0)
  assert.equal(breaker.admit(1_000), REFUSED)
  assert.deepEqual(changes, [true])
})

test('stays closed when exactly half failed', () => {
  const breaker = new Breaker()
  run(breaker, [...fine(50), ...failed(50)], 0)
  assert.equal(breaker.state, 'closed')
  run(breaker, failed(1), 0)
  assert.equal(breaker.state, 'open')
})

test('forgets what lies further back than its window', () => {
  const breaker = new Breaker()
  run(breaker, failed(19), 0)
  run(breaker, failed(10), 11_000)
  assert.equal(breaker.state, 'closed')
  run(breaker, failed(10), 12_000)
  assert.equal(breaker.state, 'open')
})

test('lets one probe pass at a time, and closes when it succeeds', () => {
  const changes: boolean[] = []
  const breaker = new Breaker({ probeAfterMs: 5_000, onChange: (open) => changes.push(open) })
  run(breaker, failed(20), 0)
  assert.equal(breaker.probeInMs(1_000), 4_000)
  assert.equal(breaker.room(4_999), 0)
  assert.equal(breaker.room(5_000), 1)
  const probe = breaker.admit(5_000)
  assert.notEqual(probe, REFUSED)
  assert.equal(breaker.state, 'probing')
  assert.equal(breaker.admit(5_001), REFUSED)
  breaker.record(probe, true, 6_000)
  assert.equal(breaker.state, 'open')
  assert.equal(breaker.room(10_999), 0)
  breaker.record(breaker.admit(11_000), false, 11_010)
  assert.equal(breaker.state, 'closed')
  assert.deepEqual(changes, [true, false])
  run(breaker, failed(19), 11_020)
  assert.equal(breaker.state, 'closed', 'counting starts afresh')
})

test('an abandoned probe makes the next one due at once', () => {
  const breaker = new Breaker()
  run(breaker, failed(20), 0)
  breaker.abandon(breaker.admit(5_000), 5_100)
  assert.equal(breaker.room(5_100), 1)
})

test('ignores results of calls from before it opened', () => {
  const breaker = new Breaker()
  const early = breaker.admit(0)
  run(breaker, failed(20), 0)
  breaker.record(early, false, 100)
  assert.equal(breaker.state, 'open')
  const probe = breaker.admit(5_000)
  breaker.record(early, false, 5_100)
  assert.equal(breaker.state, 'probing')
  breaker.record(probe, false, 5_200)
  assert.equal(breaker.state, 'closed')
})
