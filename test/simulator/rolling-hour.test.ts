import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RollingHour } from '../../src/simulator/rolling-hour.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

test('a call counts until its minute is an hour old', () => {
  const hour = new RollingHour()
  hour.add(30_000)
  hour.add(HOUR_MS - 1)
  assert.equal(hour.total(HOUR_MS - 1), 2)
  assert.equal(hour.total(HOUR_MS), 1)
  assert.equal(hour.total(2 * HOUR_MS - MINUTE_MS - 1), 1)
  assert.equal(hour.total(2 * HOUR_MS - MINUTE_MS), 0)
})

test('counts what counting by hand counts, however long nobody comes', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10 * HOUR_MS }),
      fc.array(fc.oneof(fc.nat(20_000), fc.nat(20 * MINUTE_MS), fc.nat(3 * HOUR_MS)), { maxLength: 200 }),
      (startMs, gaps) => {
        const hour = new RollingHour()
        const times: number[] = []
        let now = startMs
        for (const gap of gaps) {
          now += gap
          hour.add(now)
          times.push(now)
          const oldest = Math.floor(now / MINUTE_MS) - 59
          assert.equal(hour.total(now), times.filter((time) => Math.floor(time / MINUTE_MS) >= oldest).length)
        }
      },
    ),
  )
})
