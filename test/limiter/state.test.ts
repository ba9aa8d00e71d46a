import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bench } from './bench.ts'
import { PLAN } from './sample.ts'

/** A thousandth of the window of 10 s: to this the times of arrivals are rounded up. */
const GRAIN_MS = 10

test('a store that knows nothing begins with empty buckets and windows that stay full', () => {
  const bench = new Bench(PLAN, 'empty')
  assert.deepEqual([bench.one('other').granted, bench.one('other').level], [0, 'endpoint:instagram/other'])
  bench.nowMs += 20_000 + 9_999
  const denied = bench.one('user_media')
  assert.deepEqual([denied.granted, denied.waitMs], [0, 1])
  bench.nowMs += 1
  assert.equal(bench.one('user_media', 9).granted, 5)
  assert.equal(bench.levels().get('global')?.remaining, 945)
})

test('another server than before begins anew but keeps blocks', () => {
  const bench = new Bench(PLAN, 'empty')
  bench.one('user_media')
  bench.nowMs += 60_000
  bench.block({ platform: 'instagram', endpoint: 'user_media' }, 3_600_000)
  bench.runId = 'b'
  const denied = bench.one('user_profile')
  assert.deepEqual([denied.granted, denied.waitMs], [0, 80_000])
  assert.equal(bench.one('user_media').waitMs, 3_600_000)
  // Once only.
  bench.nowMs += 80_000
  assert.equal(bench.one('user_profile').granted, 1)
})

test('a clock that is set back neither frees slots early nor stands still', () => {
  const bench = new Bench()
  const { grant } = bench.one('user_media', 5)
  bench.nowMs += 1_000
  bench.ack('user_media', grant, 5)
  bench.nowMs -= 3_600_000
  const { waitMs } = bench.one('user_media')
  assert.ok(waitMs >= 10_000 && waitMs <= 10_000 + GRAIN_MS, String(waitMs))
  bench.nowMs += waitMs
  assert.equal(bench.one('user_media', 9).granted, 5)
})

test('levels tell what was granted over the last minute', () => {
  const bench = new Bench()
  for (let second = 0; second < 120; second++) {
    bench.nowMs += 1_000
    bench.one('channel', 1, 1, 'youtube')
  }
  const { grantedLastMinute } = bench.levels('youtube').get('platform:youtube')!
  assert.ok(Math.abs(grantedLastMinute - 60) <= 1, String(grantedLastMinute))
})

test('the log of a window stays short, whatever the limit', () => {
  const endpoints = { instagram: { busy: { limit: 900_000, windowMs: 60_000 } } }
  const ample = { rate: 50_000, burst: 500_000 }
  const bench = new Bench({ ...PLAN, global: ample, platforms: { instagram: ample }, endpoints })
  for (let i = 0; i < 6_000; i++) {
    bench.nowMs += 10
    bench.ack('busy', bench.one('busy', 3).grant, 3)
  }
  assert.ok(logOf(bench, 'endpoint:instagram/busy').length <= 1_026)
})

function logOf(bench: Bench, level: string) {
  const record = bench.state.levels.get(level)
  assert.ok(record?.kind === 'window')
  return record.log
}
