import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Bench } from './bench.ts'
import { type Arrival, violations } from './oracle.ts'
import { PLAN } from './sample.ts'

const MEDIA = { platform: 'instagram', endpoint: 'user_media' }
const INSTAGRAM = { platform: 'instagram' }

function factor(bench: Bench, level: string): number {
  return bench.levels().get(level)!.factor
}

test('a refusal takes three tenths off a limit, once for all that come together, and a window gives a twentieth back', () => {
  const bench = new Bench()
  const level = 'endpoint:instagram/user_media'
  for (let i = 0; i < 20; i++) bench.learn(MEDIA, { rejected: true })
  assert.equal(factor(bench, level), 0.7)
  assert.equal(bench.one('user_media', 9).granted, 3)
  bench.nowMs += 5_000
  bench.learn(MEDIA, { rejected: true })
  assert.equal(factor(bench, level), 0.49)
  const seen: number[] = []
  for (let window = 0; window < 12; window++) {
    bench.nowMs += 10_000
    seen.push(factor(bench, level))
  }
  assert.deepEqual(seen.slice(0, 3), [0.54, 0.59, 0.64])
  assert.deepEqual(seen.slice(-2), [1, 1])
})

test('a limit that is refused again and again keeps a tenth, and never less than one call', () => {
  const bench = new Bench()
  for (let i = 0; i < 40; i++) {
    bench.learn(MEDIA, { rejected: true })
    bench.nowMs += 5_000
  }
  assert.equal(factor(bench, 'endpoint:instagram/user_media'), 0.1)
  bench.nowMs += 1
  assert.equal(bench.one('user_media', 9).granted, 1)
})

test('a bucket that is refused grants less often and fewer at once', () => {
  const bench = new Bench()
  bench.learn(INSTAGRAM, { rejected: true })
  // 45 of 50, and 10 a second.
  assert.equal(bench.one('other', 60).granted, 31)
  // Half a unit is left, and one takes 142.9 ms.
  assert.equal(bench.one('other').waitMs, 72)
})

test('a share that the upstream allows caps a limit for as long as it is said', () => {
  const bench = new Bench()
  bench.learn(INSTAGRAM, { share: 0.3 })
  assert.equal(factor(bench, 'platform:instagram'), 0.3)
  bench.learn(INSTAGRAM, { share: 0.8 })
  assert.equal(factor(bench, 'platform:instagram'), 0.3)
  bench.nowMs += 9_000
  bench.learn(INSTAGRAM, { share: 0.3 })
  bench.nowMs += 9_000
  assert.equal(factor(bench, 'platform:instagram'), 0.3)
  bench.nowMs += 1_000
  assert.equal(factor(bench, 'platform:instagram'), 0.35)
})

test('a stated limit counts where it is measured over at least as long as ours', () => {
  const bench = new Bench()
  bench.learn(MEDIA, { policy: { limit: 2, windowMs: 1_000 } })
  assert.equal(factor(bench, 'endpoint:instagram/user_media'), 1)
  // A quota says how many, not how fast.
  bench.learn(MEDIA, { policy: { limit: 90, windowMs: 3_600_000 } })
  assert.equal(factor(bench, 'endpoint:instagram/user_media'), 1)
  bench.learn(MEDIA, { policy: { limit: 15, windowMs: 60_000 } })
  assert.equal(factor(bench, 'endpoint:instagram/user_media'), 0.5)
})

test('a dear call stays possible however low the limit is', () => {
  const bench = new Bench()
  for (let i = 0; i < 20; i++) {
    bench.learn({ platform: 'youtube' }, { rejected: true })
    bench.nowMs += 5_000
  }
  assert.equal(bench.one('search', 1, 30, 'youtube').granted, 1)
})

test('a lifted block restores the limit', () => {
  const bench = new Bench()
  bench.learn(MEDIA, { rejected: true, blockMs: 60_000 })
  assert.equal(bench.one('user_media').granted, 0)
  bench.forgive(MEDIA)
  assert.equal(bench.one('user_media', 9).granted, 5)
})

test('whatever the upstream says in between, no limit is exceeded', () => {
  const plan = { ...PLAN, arrivalJitterMs: 0, grantTimeoutMs: 0 }
  const word = fc.record({
    about: fc.constantFrom(MEDIA, INSTAGRAM),
    rejected: fc.boolean(),
    share: fc.constantFrom(undefined, 0.2, 0.77),
  })
  const step = fc.record({
    afterMs: fc.constantFrom(0, 100, 900, 5_000, 10_000, 35_000),
    word: fc.option(word, { nil: undefined }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const bench = new Bench(plan)
      const arrivals: Arrival[] = []
      for (const { afterMs, word } of steps) {
        bench.nowMs += afterMs
        if (word !== undefined) bench.learn(word.about, word)
        for (const endpoint of ['user_media', 'user_profile', 'other']) {
          const { granted, grant } = bench.one(endpoint, 40)
          if (granted > 0) bench.ack(endpoint, grant, granted)
          const arrival = { atMs: bench.nowMs, platform: 'instagram', endpoint, cost: 1 }
          for (let i = 0; i < granted; i++) arrivals.push(arrival)
        }
      }
      assert.deepEqual(violations(plan, arrivals), [])
    }),
  )
})
