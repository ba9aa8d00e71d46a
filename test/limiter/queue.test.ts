import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bench } from './bench.ts'
import { PLAN, want } from './sample.ts'

/** One daemon's call for one endpoint. */
function ask(bench: Bench, daemon: string, count: number, endpoint = 'other') {
  return bench.ask([want(endpoint, count)], { daemon })[0]!
}

/** The bucket of instagram, 10 a second, empty: its units come one by one. */
function drained(): Bench {
  const ample = { limit: 1_000, windowMs: 1_000, mode: 'bounded' } as const
  const bench = new Bench({ ...PLAN, defaultEndpoint: ample })
  ask(bench, 'drain', 45)
  return bench
}

test('who waited longest gets the next unit, whoever asks first', () => {
  const bench = drained()
  assert.equal(ask(bench, 'a', 5).waitMs, 100)
  assert.equal(ask(bench, 'b', 5).waitMs, 200)
  assert.equal(ask(bench, 'c', 5).waitMs, 300)
  bench.nowMs += 100
  assert.equal(ask(bench, 'c', 5).granted, 0)
  assert.equal(ask(bench, 'b', 5).granted, 0)
  assert.equal(ask(bench, 'a', 5).granted, 1)
  bench.nowMs += 100
  // Whoever was granted something stands behind the others.
  assert.deepEqual([ask(bench, 'a', 5).granted, ask(bench, 'b', 5).granted], [0, 1])
})

test('what is there is divided by how many wait for it', () => {
  const bench = drained()
  for (const daemon of ['a', 'b', 'c']) ask(bench, daemon, 50)
  const had = { a: 0, b: 0, c: 0 }
  for (let round = 0; round < 40; round++) {
    bench.nowMs += 1_200
    // The same one is the last to ask every time.
    for (const daemon of ['c', 'a', 'b'] as const) had[daemon] += ask(bench, daemon, 50).granted
  }
  const total = had.a + had.b + had.c
  assert.ok(total >= 475, String(total))
  for (const units of Object.values(had)) assert.ok(Math.abs(units - total / 3) < 10, JSON.stringify(had))
})

test('who wants less than its part leaves the rest to the others', () => {
  const bench = drained()
  ask(bench, 'a', 50)
  ask(bench, 'b', 1)
  bench.nowMs += 1_000
  assert.equal(ask(bench, 'a', 50).granted, 9)
  assert.equal(ask(bench, 'b', 1).granted, 1)
})

test('the place of a daemon that does not come back lapses', () => {
  const bench = drained()
  ask(bench, 'gone', 50)
  ask(bench, 'here', 50)
  bench.nowMs += 100 + 2_500 + 1
  assert.equal(ask(bench, 'here', 50).granted, 26)
})

test('who finds everything kept for others is told when there will be more', () => {
  const bench = new Bench()
  const { grant } = ask(bench, 'drain', 5, 'user_media')
  bench.ack('user_media', grant, 5)
  const { waitMs } = ask(bench, 'a', 5, 'user_media')
  bench.nowMs += waitMs
  const denied = ask(bench, 'b', 5, 'user_media')
  // a's part is kept for it: half of five, rounded down.
  assert.deepEqual([denied.granted, denied.level], [3, 'endpoint:instagram/user_media'])
  assert.ok(denied.waitMs > 0)
})

test('a level tells how many permits wait for it, in all daemons', () => {
  const bench = drained()
  bench.ask([{ ...want('other', 5), waiting: 80 }], { daemon: 'a' })
  bench.ask([{ ...want('third', 5), waiting: 20 }], { daemon: 'b' })
  assert.equal(bench.levels().get('platform:instagram')?.waiting, 100)
  bench.nowMs += 60_000
  assert.equal(bench.levels().get('platform:instagram')?.waiting, 0)
})

test('an endpoint that is held back by its own window leaves no claim on the bucket', () => {
  const bench = new Bench()
  ask(bench, 'a', 5, 'user_media')
  ask(bench, 'a', 5, 'user_media')
  ask(bench, 'drain', 40)
  bench.nowMs += 1_000
  assert.equal(ask(bench, 'b', 50).granted, 10)
})
