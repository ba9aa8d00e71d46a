import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bench } from './bench.ts'
import { PLAN, want } from './sample.ts'

/** A thousandth of the window of 10 s: to this the times of arrivals are rounded up. */
const GRAIN_MS = 10

test('grants up to the window, and names level and time of the next permit', () => {
  const { granted, level, waitMs } = new Bench().one('user_media', 8)
  assert.deepEqual([granted, level], [5, 'endpoint:instagram/user_media'])
  assert.ok(waitMs >= 10_000 && waitMs <= 10_000 + GRAIN_MS, String(waitMs))
})

test('a window slot is free one window after its acknowledgement, not after its grant', () => {
  const bench = new Bench()
  const { grant } = bench.one('user_media', 5)
  bench.nowMs += 3_000
  bench.ack('user_media', grant, 2)
  bench.nowMs += 9_999
  assert.equal(bench.one('user_media').granted, 0)
  // Times are rounded up by a thousandth of the window.
  bench.nowMs += 11
  assert.equal(bench.one('user_media', 5).granted, 2)
})

test('a grant that is never acknowledged fills its slot until its time-out and one window have passed', () => {
  const bench = new Bench()
  bench.one('user_media', 5)
  bench.nowMs += 20_000 + 9_999
  const denied = bench.one('user_media')
  assert.equal(denied.granted, 0)
  assert.equal(denied.waitMs, 1)
  bench.nowMs += 1
  assert.equal(bench.one('user_media', 9).granted, 5)
})

test('an acknowledgement counts once, and not for more than was granted', () => {
  const bench = new Bench()
  const { grant } = bench.one('user_media', 3)
  bench.ack('user_media', grant, 99)
  bench.ack('user_media', grant, 3)
  bench.ack('user_media', 'never granted', 3)
  assert.equal(bench.levels().get('endpoint:instagram/user_media')?.remaining, 2)
})

test('a denial charges nothing on any level', () => {
  const bench = new Bench()
  bench.one('user_media', 5)
  const before = structuredClone(bench.state)
  assert.equal(bench.one('user_media', 50).granted, 0)
  assert.deepEqual(bench.state, before)
})

test('a bounded window counts a grant from its jitter on and ignores acknowledgements', () => {
  const endpoints = { instagram: { user_media: { limit: 5, windowMs: 10_000, mode: 'bounded' as const } } }
  const bench = new Bench({ ...PLAN, endpoints })
  const { grant } = bench.one('user_media', 5)
  bench.ack('user_media', grant, 5)
  bench.nowMs += 10_499
  assert.equal(bench.one('user_media').granted, 0)
  bench.nowMs += 12
  assert.equal(bench.one('user_media', 9).granted, 5)
})

test('buckets keep back what may still be on its way from before', () => {
  const bench = new Bench()
  // A burst of 50, less 10 a second × 0.5 s.
  const grant = bench.one('other', 60)
  assert.equal(grant.granted, 45)
  assert.equal(grant.level, 'platform:instagram')
  assert.equal(grant.waitMs, 100)
})

test('a permit of a higher cost takes that many units of every level', () => {
  const bench = new Bench()
  assert.equal(bench.one('search', 3, 15, 'youtube').granted, 2)
  const levels = bench.levels('youtube')
  assert.equal(levels.get('platform:youtube')?.remaining, 37 - 30)
  assert.equal(levels.get('endpoint:youtube/search')?.remaining, 970)
})

test('a cost that no level could ever hold is refused as wrong usage', () => {
  assert.throws(() => new Bench().one('search', 1, 38, 'youtube'), { code: 'LIMIT_DEMAND', kind: 'usage' })
})

test('a platform without limits is refused as wrong usage, and the message names those that have some', () => {
  assert.throws(() => new Bench().one('x', 1, 1, 'myspace'), {
    code: 'LIMIT_UNKNOWN_PLATFORM',
    message: /instagram, youtube/,
  })
})

test('a flooded endpoint leaves the others their share of the bucket', () => {
  const bench = new Bench()
  bench.one('other', 60)
  const had = { user_profile: 0, other: 0, third: 0 }
  for (let second = 0; second < 3; second++) {
    bench.nowMs += 1_000
    for (const { endpoint, granted } of bench.ask([
      want('third', 2),
      want('other', 900),
      want('user_profile', 900),
    ])) {
      had[endpoint as keyof typeof had] += granted
    }
  }
  // 30 units: the one that wants little gets all of it, the others share the rest.
  assert.deepEqual(had, { user_profile: 12, other: 12, third: 6 })
})

test('turns go on from call to call, so that single permits reach every endpoint', () => {
  const bench = new Bench()
  bench.one('other', 60)
  const order: string[] = []
  for (let i = 0; i < 6; i++) {
    bench.nowMs += 100
    const grants = bench.ask([want('other', 9), want('third', 9), want('user_profile', 9)])
    order.push(...grants.filter(({ granted }) => granted > 0).map(({ endpoint }) => endpoint))
  }
  assert.deepEqual(order.slice(0, 3).toSorted(), ['other', 'third', 'user_profile'])
  assert.deepEqual(order.slice(3), order.slice(0, 3))
})

test('dear calls and cheap ones share a bucket by units, and the cheap ones do not starve the dear', () => {
  const bench = new Bench()
  bench.one('channel', 37, 1, 'youtube')
  const had = { search: 0, channel: 0 }
  for (let tick = 0; tick < 400; tick++) {
    bench.nowMs += 200
    const grants = bench.ask([want('channel', 50), want('search', 5, 20)], { platform: 'youtube' })
    had.channel += grants[0]!.granted
    had.search += grants[1]!.granted * 20
  }
  assert.equal(had.channel + had.search + bench.levels('youtube').get('platform:youtube')!.remaining, 400)
  assert.ok(Math.abs(had.channel - had.search) <= 20, JSON.stringify(had))
})

test('who is held back behind a dear call is told when that one can be served, never to ask again at once', () => {
  const bench = new Bench()
  // 37.5 units less 20: enough for every `channel`, but it is the turn of `search`.
  bench.one('search', 1, 20, 'youtube')
  const grants = bench.ask([want('channel', 9), want('search', 1, 20)], { platform: 'youtube' })
  for (const { granted, waitMs, level } of grants) {
    assert.deepEqual([granted, waitMs, level], [0, 500, 'platform:youtube'])
  }
})

test('a turn that was cut short by an empty bucket does not keep its endpoint waiting', () => {
  const bench = new Bench()
  bench.one('channel', 27, 1, 'youtube')
  bench.ask([want('channel', 20), want('search', 2, 20)], { platform: 'youtube' })
  bench.nowMs += 60_000
  assert.equal(bench.one('channel', 1, 1, 'youtube').granted, 1)
})

test('a repeated call is told the same permits and charged once', () => {
  const bench = new Bench()
  const [first] = bench.ask([want('user_media', 3)], { requestId: 'again' })
  bench.nowMs += 400
  const [second] = bench.ask([want('user_media', 3)], { requestId: 'again' })
  assert.deepEqual(second, first)
  assert.equal(bench.levels().get('endpoint:instagram/user_media')?.remaining, 2)
})

test('the acknowledgements of a repeated call count once', () => {
  const bench = new Bench()
  const { grant } = bench.one('user_media', 5)
  const acks = [{ endpoint: 'user_media', grant, arrived: 1 }]
  bench.ask([], { requestId: 'again', acks })
  bench.ask([], { requestId: 'again', acks })
  bench.nowMs += 10_000 + GRAIN_MS
  assert.equal(bench.levels().get('endpoint:instagram/user_media')?.remaining, 1)
})

test('acknowledgements of a call that failed may be repeated under its id, without its wants', () => {
  const bench = new Bench()
  const { grant } = bench.one('user_media', 4)
  const acks = [{ endpoint: 'user_media', grant, arrived: 1 }]
  bench.ask([want('user_profile', 3)], { requestId: 'failed', acks })
  assert.deepEqual(bench.ask([], { requestId: 'failed', acks }), [])
  bench.nowMs += 10_000 + GRAIN_MS
  assert.equal(bench.levels().get('endpoint:instagram/user_media')?.remaining, 2)
})

test('a call that is repeated too late to use its permits is told none, and charged once', () => {
  const bench = new Bench()
  bench.ask([want('user_media', 3)], { requestId: 'again' })
  bench.nowMs += 501
  assert.equal(bench.ask([want('user_media', 3)], { requestId: 'again' })[0]!.granted, 0)
  assert.equal(bench.levels().get('endpoint:instagram/user_media')?.remaining, 2)
})

test('a block holds back everyone, is never shortened, and shows in the levels', () => {
  const bench = new Bench()
  bench.block({ platform: 'instagram', endpoint: 'user_media' }, 5_000)
  bench.block({ platform: 'instagram', endpoint: 'user_media' }, 1_000)
  const denied = bench.one('user_media')
  assert.deepEqual([denied.granted, denied.waitMs, denied.level], [0, 5_000, 'endpoint:instagram/user_media'])
  assert.equal(bench.one('user_profile').granted, 1)
  bench.block({ platform: 'instagram' }, 7_000)
  assert.deepEqual(
    [bench.one('user_profile').waitMs, bench.one('user_profile').level],
    [7_000, 'platform:instagram'],
  )
  const levels = bench.levels()
  assert.equal(levels.get('platform:instagram')?.blockedUntilMs, bench.nowMs + 7_000)
  assert.equal(levels.get('platform:instagram')?.remaining, 0)
  bench.nowMs += 7_000
  assert.equal(bench.one('user_media').granted, 1)
})
