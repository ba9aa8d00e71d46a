import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pace } from '../../src/dead-letters/pace.ts'
import { atOnce } from '../until.ts'

const never = new AbortController().signal

test('without a rate nothing waits, and as many go at once as may', async () => {
  const pace = new Pace(undefined)
  assert.equal(pace.atOnce(100), 100)
  await pace.wait(1_000_000, never)
  await pace.wait(1_000_000, never)
})

test('a rate is spread over its second', () => {
  for (const [rate, expected] of [
    [0.5, 1],
    [9, 1],
    [50, 5],
    [600, 60],
    [100_000, 100],
  ] as const) {
    assert.equal(new Pace(rate).atOnce(100), expected, `${rate}/s`)
  }
})

test('each waits for those before it, and what was not used is not saved up', async () => {
  let nowMs = 1_000
  const pace = new Pace(100, () => nowMs)
  const took = async (count: number) => {
    const startedMs = performance.now()
    await pace.wait(count, never)
    return performance.now() - startedMs
  }
  await atOnce(pace.wait(10, never), 'the first')
  assert.ok((await took(10)) >= 95, '100 ms for the ten before')
  nowMs += 60_000
  await atOnce(pace.wait(10, never), 'what comes after a long silence')
  assert.ok((await took(10)) >= 95)
})

test('who waits is let go when told to stop', async () => {
  const pace = new Pace(0.001)
  await pace.wait(1, never)
  const stopping = new AbortController()
  const waiting = pace.wait(1, stopping.signal)
  stopping.abort(new Error('stop'))
  await assert.rejects(waiting, /stop/)
  await assert.rejects(pace.wait(1, stopping.signal), /stop/)
})
