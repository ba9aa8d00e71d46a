import assert from 'node:assert/strict'
import { test } from 'node:test'
import { windowSpan } from '../../src/cli/limit-text.ts'
import { clock, span } from '../../src/cli/time.ts'

const SECOND = 1_000
const HOUR = 3_600 * SECOND

test('a length of time is told in its two largest units, rounded up', () => {
  for (const [ms, text] of [
    [0, '0s'],
    [-5, '0s'],
    [0.2, '1ms'],
    [999.5, '1s'],
    [1_001, '2s'],
    [59_001, '1m 0s'],
    [61_000, '1m 1s'],
    [HOUR - 1, '1h 0m'],
    [30_250 * SECOND, '8h 25m'],
    [24 * HOUR - 1, '1d 0h'],
    [49 * HOUR + 1, '2d 2h'],
    [20 * 24 * HOUR, '20d 0h'],
  ] as const) {
    assert.equal(span(ms), text, String(ms))
  }
})

test('a window is told in seconds up to two minutes, and exactly when it is a round number', () => {
  for (const [ms, text] of [
    [500, '500ms'],
    [2_500, '2.5s'],
    [60_000, '60s'],
    [120_000, '120s'],
    [HOUR, '1h'],
    [90 * 60 * SECOND, '90m'],
    [24 * HOUR, '1d'],
    // What is left of a fraction.
    [59_999.999_9, '60s'],
    [3_661 * SECOND, '1h 2m'],
  ] as const) {
    assert.equal(windowSpan(ms), text, String(ms))
  }
})

test('a time of another day comes with its date', () => {
  const noon = new Date(2026, 10, 21, 12, 0, 0).getTime()
  assert.equal(clock(noon + HOUR, noon), '13:00:00')
  assert.equal(clock(noon + 13 * HOUR, noon), '22 Nov 01:00:00')
})
