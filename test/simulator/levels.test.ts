import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Bucket, SlidingWindow } from '../../src/simulator/levels.ts'

test('a bucket admits its burst, then exactly its rate', () => {
  const bucket = new Bucket({ rate: 4, burst: 3 })
  const take = (nowMs: number) => {
    const wait = bucket.waitMs(nowMs)
    if (wait === 0) bucket.admit(nowMs)
    return wait
  }
  assert.deepEqual([take(1000), take(1000), take(1000)], [0, 0, 0])
  assert.equal(take(1000), 250)
  assert.equal(take(1249), 1)
  assert.equal(take(1250), 0)
  assert.equal(take(1250), 250)
  // After a long rest the burst is whole again, and not more than whole.
  assert.deepEqual([take(90_000), take(90_000), take(90_000)], [0, 0, 0])
  assert.ok(take(90_000) > 0)
})

test('a bucket never admits more than burst + rate × time, and what it refuses would have been more', () => {
  fc.assert(
    fc.property(
      fc.record({ rate: fc.integer({ min: 1, max: 50 }), burst: fc.integer({ min: 1, max: 20 }) }),
      fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 200 }),
      ({ rate, burst }, gaps) => {
        const bucket = new Bucket({ rate, burst })
        // The definition itself: tokens that fill up with time.
        let tokens = burst
        let now = 0
        for (const gap of gaps) {
          now += gap
          tokens = Math.min(burst, tokens + (gap * rate) / 1000)
          const admitted = bucket.waitMs(now) === 0
          assert.equal(admitted, tokens >= 1 - 1e-6, `at ${now} with ${tokens}`)
          if (!admitted) continue
          bucket.admit(now)
          tokens -= 1
        }
      },
    ),
  )
})

test('a window admits its limit in any period, not per clock minute', () => {
  const window = new SlidingWindow({ limit: 2, windowMs: 1000 })
  const take = (nowMs: number) => {
    window.see(nowMs)
    const wait = window.waitMs(nowMs)
    if (wait === 0) window.admit(nowMs)
    return wait
  }
  assert.deepEqual([take(900), take(950)], [0, 0])
  assert.equal(take(1100), 800)
  // An entry counts while its time is later than now minus the window.
  assert.equal(take(1899), 1)
  assert.equal(take(1900), 0)
  assert.equal(take(1900), 50)
  // 950, 1100, 1899 and twice 1900.
  assert.equal(window.maxInWindow, 5)
})

test('a window agrees with counting by hand', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 }),
      fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 300 }),
      (limit, gaps) => {
        const window = new SlidingWindow({ limit, windowMs: 1000 })
        const admitted: number[] = []
        const seen: number[] = []
        let most = 0
        let now = 5000
        for (const gap of gaps) {
          now += gap
          seen.push(now)
          window.see(now)
          most = Math.max(most, seen.filter((time) => time > now - 1000).length)
          const inside = admitted.filter((time) => time > now - 1000).length
          assert.equal(window.waitMs(now) === 0, inside < limit)
          if (inside >= limit) continue
          window.admit(now)
          admitted.push(now)
        }
        assert.equal(window.maxInWindow, most)
      },
    ),
  )
})
