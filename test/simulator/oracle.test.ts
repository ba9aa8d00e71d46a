import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Oracle } from '../../src/simulator/oracle.ts'

const LIMITS = {
  global: { rate: 10, burst: 6 },
  platforms: { youtube: { rate: 5, burst: 4 } },
  endpoints: { 'youtube/channel': { limit: 3, windowMs: 1000 } },
  defaultEndpoint: { limit: 2, windowMs: 1000 },
}

function levelOf(oracle: Oracle, name: string) {
  const level = oracle.report().levels.find(({ level }) => level === name)
  assert.ok(level, name)
  return level
}

test('an arrival over one level is charged to none of them', () => {
  const oracle = new Oracle(LIMITS, 0)
  for (let call = 0; call < 3; call += 1) assert.ok(oracle.arrive('youtube', 'channel', 0).admitted)
  const refused = oracle.arrive('youtube', 'channel', 0)
  assert.deepEqual(refused, { admitted: false, waitMs: 1000, level: 'endpoint:youtube/channel' })
  // The platform's bucket still has its fourth token, the global one its fourth, fifth and sixth.
  assert.ok(oracle.arrive('youtube', 'videos', 0).admitted)
  assert.equal(oracle.arrive('youtube', 'videos', 0).level, 'platform:youtube')
  assert.ok(oracle.arrive('tiktok', 'user_info', 0).admitted)
  assert.ok(oracle.arrive('tiktok', 'user_info', 0).admitted)
  assert.equal(oracle.arrive('tiktok', 'token', 0).level, 'global')

  const report = oracle.report()
  assert.equal(report.arrivals, 9)
  assert.equal(report.admitted, 6)
  assert.equal(report.violations, 3)
  assert.equal(levelOf(oracle, 'endpoint:youtube/channel').violations, 1)
  assert.equal(levelOf(oracle, 'endpoint:youtube/channel').maxInWindow, 4)
  assert.equal(levelOf(oracle, 'platform:youtube').violations, 1)
  assert.equal(levelOf(oracle, 'global').violations, 1)
  assert.equal(levelOf(oracle, 'global').peakUtilisation, 1)
})

test('utilisation is what was admitted over what the rate sustains', () => {
  const oracle = new Oracle({ platforms: { tiktok: { rate: 2, burst: 1 } }, endpoints: {} }, 1_000_000)
  for (let ms = 0; ms <= 10_000; ms += 1000) oracle.arrive('tiktok', 'user_info', ms)
  const level = levelOf(oracle, 'platform:tiktok')
  assert.equal(level.meanUtilisation, 11 / 20)
  assert.equal(level.violations, 0)
  assert.equal(level.firstArrivalMs, 1_000_000)
  assert.equal(level.lastArrivalMs, 1_010_000)
})

test('replies are counted by endpoint and status', () => {
  const oracle = new Oracle({ platforms: {}, endpoints: {} }, 0)
  for (const status of [200, 200, 500]) oracle.answered('youtube', 'channel', status)
  oracle.answered('tiktok', 'user_info', 404)
  oracle.answered('tiktok', undefined, 404)
  assert.deepEqual(oracle.report().answered, {
    'youtube/channel': { 200: 2, 500: 1 },
    'tiktok/user_info': { 404: 1 },
  })
  assert.deepEqual(oracle.report().byStatus, { 200: 2, 404: 2, 500: 1 })
  oracle.reset()
  assert.deepEqual(oracle.report().answered, {})
})

test('a reset forgets the counts and remembers what was used', () => {
  const oracle = new Oracle(LIMITS, 0)
  for (let call = 0; call < 4; call += 1) oracle.arrive('youtube', 'channel', 0)
  oracle.reset()
  assert.equal(oracle.report().arrivals, 0)
  assert.equal(levelOf(oracle, 'endpoint:youtube/channel').arrivals, 0)
  assert.equal(oracle.arrive('youtube', 'channel', 1).admitted, false)
})

test('without limits everything is admitted', () => {
  const oracle = new Oracle({ platforms: {}, endpoints: {} }, 0)
  for (let call = 0; call < 1000; call += 1) assert.ok(oracle.arrive('instagram', 'user_media', 0).admitted)
  assert.deepEqual(oracle.report().levels, [])
})

test('what came while nobody looked is a violation only when it was one at every moment since', () => {
  const oracle = new Oracle(LIMITS, 0)
  // Two seconds of what the bucket allows, handed over at once: 4 of its burst, 10 that it regained.
  const late = () => oracle.arrive('youtube', undefined, 2000, undefined, 2000)
  for (let call = 0; call < 14; call += 1) assert.ok(late().admitted, `the ${call}th`)
  const refused = late()
  assert.deepEqual([refused.admitted, refused.level], [false, 'platform:youtube'])
  assert.equal(oracle.report().unseenMsMax, 2000)
  oracle.reset()
  assert.equal(oracle.report().unseenMsMax, 0)
})

test('who keeps the limits has no violation, however late each arrival is seen', () => {
  const endpoints = ['channel', 'videos', 'search']
  const gap = fc.double({ min: 0, max: 600, noNaN: true })
  const arrival = fc.record({ gapMs: gap, endpoint: fc.constantFrom(...endpoints), seenAfter: fc.boolean() })
  fc.assert(
    fc.property(fc.array(arrival, { maxLength: 60 }), (arrivals) => {
      const exact = new Oracle(LIMITS, 0)
      const late = new Oracle(LIMITS, 0)
      let nowMs = 0
      let waiting: { atMs: number; endpoint: string }[] = []
      for (const { gapMs, endpoint, seenAfter } of arrivals) {
        nowMs += gapMs
        // Only what keeps the limits is sent.
        const probe = exact.arrive('youtube', endpoint, nowMs)
        if (probe.admitted) waiting.push({ atMs: nowMs, endpoint })
        if (seenAfter) continue
        for (const one of waiting)
          late.arrive('youtube', one.endpoint, nowMs, undefined, nowMs - waiting[0]!.atMs)
        waiting = []
      }
      assert.equal(late.report().violations, 0)
    }),
    { numRuns: 300 },
  )
})
