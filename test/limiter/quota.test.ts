import assert from 'node:assert/strict'
import { test } from 'node:test'
import { periodStarts } from '../../src/limiter/calendar.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { Bench } from './bench.ts'
import { PLAN, want } from './sample.ts'

const HOUR_MS = 3_600_000
/** Between the platform's clock and ours. */
const SLACK_MS = 2_000

const DAILY: LimitPlan = {
  ...PLAN,
  platforms: { youtube: { rate: 1000, burst: 5000 } },
  global: { rate: 1000, burst: 5000 },
  endpoints: { youtube: {} },
  defaultEndpoint: { limit: 100_000, windowMs: 60_000 },
  quotas: { youtube: { limit: 1000, period: 'day', timeZone: 'America/Los_Angeles' } },
}

/** 20 November 2026, noon in Los Angeles (UTC − 8). */
const NOON_MS = Date.UTC(2026, 10, 20, 20)

function benchAt(nowMs: number, plan = DAILY): Bench {
  const bench = new Bench(plan)
  bench.nowMs = nowMs
  return bench
}

function search(bench: Bench, count: number, credential?: string) {
  const [grant] = bench.ask([{ ...want('search', count, 100), credential }], { platform: 'youtube' })
  return grant!
}

test('a quota is charged by cost, and waits for midnight where the platform is', () => {
  const bench = benchAt(NOON_MS)
  const { granted, level, waitMs } = search(bench, 20)
  assert.deepEqual([granted, level], [10, 'quota:youtube/main'])
  assert.equal(waitMs, 12 * HOUR_MS + SLACK_MS)
  assert.equal(bench.one('channel', 1, 1, 'youtube').granted, 0)
  bench.nowMs += waitMs - 1
  assert.equal(search(bench, 1).granted, 0)
  bench.nowMs += 1
  assert.equal(search(bench, 20).granted, 10)
})

test('a rate counts requests where a quota counts units', () => {
  const bench = benchAt(NOON_MS)
  search(bench, 2)
  const levels = bench.levels('youtube')
  assert.equal(levels.get('quota:youtube/main')?.remaining, 800)
  assert.equal(levels.get('platform:youtube')?.remaining, 4500 - 2)
  assert.equal(levels.get('quota:youtube/main')?.resetsAtMs, NOON_MS + 12 * HOUR_MS + SLACK_MS)
})

test('what may arrive on either side of midnight counts on both', () => {
  const bench = benchAt(NOON_MS + 12 * HOUR_MS - 1_000)
  search(bench, 4)
  bench.nowMs += 1_000 + SLACK_MS
  // Under way at midnight: the platform may count it today.
  assert.equal(search(bench, 20).granted, 6)
  assert.equal(search(bench, 1).waitMs, 24 * HOUR_MS)
})

test('just after midnight the old day still counts: the platform may not have turned its page', () => {
  const bench = benchAt(NOON_MS)
  search(bench, 8)
  bench.nowMs += 12 * HOUR_MS + 1_000
  assert.equal(search(bench, 20).granted, 2)
  bench.nowMs += 1_000
  assert.equal(search(bench, 20).granted, 8)
})

test('every credential has a quota of its own, unless they share the platform’s', () => {
  const bench = benchAt(NOON_MS)
  assert.equal(search(bench, 20, 'first').granted, 10)
  assert.equal(search(bench, 20, 'second').granted, 10)
  const shared = benchAt(NOON_MS, {
    ...DAILY,
    quotas: { youtube: { ...DAILY.quotas!.youtube!, per: 'platform' } },
  })
  assert.equal(search(shared, 20, 'first').granted, 10)
  assert.deepEqual([search(shared, 20, 'second').granted, search(shared, 1).level], [0, 'quota:youtube'])
})

test('credentials have rates of their own', () => {
  const credentials = { youtube: { limit: 3, windowMs: 60_000 } }
  const bench = benchAt(NOON_MS, { ...DAILY, credentials })
  const ask = (credential: string) =>
    bench.ask(
      [
        { ...want('channel', 2), credential },
        { ...want('videos', 2), credential },
      ],
      { platform: 'youtube' },
    )
  const total = (credential: string) => ask(credential).reduce((sum, { granted }) => sum + granted, 0)
  assert.deepEqual([total('first'), total('first'), total('second')], [3, 0, 3])
  assert.equal(ask('first')[1]!.level, 'credential:youtube/first')
})

test('a store that lost its data hears from the daemons what was used', () => {
  const bench = benchAt(NOON_MS)
  search(bench, 7)
  bench.state = new Bench().state
  assert.equal(search(bench, 20).granted, 3)
})

test('a store whose clock is set back does not give a day twice', () => {
  const bench = benchAt(NOON_MS)
  bench.nowMs += 12 * HOUR_MS + SLACK_MS
  search(bench, 9)
  bench.nowMs -= HOUR_MS
  assert.equal(search(bench, 20).granted, 1)
})

test('days are as long as the clocks make them', () => {
  const fall = periodStarts('day', 'America/Los_Angeles', Date.UTC(2026, 10, 1, 12))
  assert.equal((fall[2]! - fall[1]!) / HOUR_MS, 25)
  const spring = periodStarts('day', 'America/Los_Angeles', Date.UTC(2026, 2, 8, 12))
  assert.equal((spring[2]! - spring[1]!) / HOUR_MS, 23)
  // Midnight does not exist there on that day: clocks go from 23:59 to 01:00.
  const brazil = periodStarts('day', 'America/Sao_Paulo', Date.UTC(2018, 10, 4, 12))
  assert.equal(new Date(brazil[1]!).toISOString(), '2018-11-04T03:00:00.000Z')
  const month = periodStarts('month', 'UTC', Date.UTC(2026, 0, 31))
  assert.equal(new Date(month[2]!).toISOString(), '2026-02-01T00:00:00.000Z')
})
