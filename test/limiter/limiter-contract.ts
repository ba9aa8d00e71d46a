import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Limiter } from '../../src/job/permit.ts'
import type { LimitPlan } from '../../src/limiter/plan.ts'
import { demand, PLAN, want } from './sample.ts'

/** Buckets so slow that no unit comes back while a test runs. */
export const CONTRACT_PLAN: LimitPlan = {
  ...PLAN,
  // For so long a call may be repeated.
  arrivalJitterMs: 20_000,
  global: { rate: 0.001, burst: 1001 },
  platforms: { instagram: { rate: 0.001, burst: 51 }, youtube: { rate: 0.001, burst: 41 } },
}

/** A started limiter over CONTRACT_PLAN that knows of no grants yet, or null when the test had to be skipped. It stops with the test. */
export type Open = (t: TestContext) => Promise<Limiter | null>

/** What every implementation of the Limiter port does, whatever holds its state. */
export function contractOf(name: string, open: Open): void {
  test(`${name}: grants in the order of the wants, and says what holds the rest back`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    const wants = [want('user_profile', 3), want('user_media', 7), want('elsewhere', 1)]
    const grants = await limiter.decide(demand('instagram', wants))
    assert.deepEqual(
      grants.map(({ endpoint, granted, level }) => [endpoint, granted, level]),
      [
        ['user_profile', 3, null],
        ['user_media', 5, 'endpoint:instagram/user_media'],
        ['elsewhere', 1, null],
      ],
    )
    const [first, second] = grants
    assert.equal(first!.waitMs, 0)
    assert.ok(second!.waitMs > 9_000 && second!.waitMs <= 10_020, String(second!.waitMs))
    assert.equal(new Set(grants.map(({ grant }) => grant)).size, 3)
  })

  test(`${name}: takes acknowledgements without wants, and wants of nothing`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    const [grant] = await limiter.decide(demand('instagram', [want('user_media', 2)]))
    const acks = [{ endpoint: 'user_media', grant: grant!.grant, arrived: 2 }]
    assert.deepEqual(await limiter.decide(demand('instagram', [], acks)), [])
    const [none] = await limiter.decide(demand('instagram', [want('user_media', 0)], acks))
    assert.deepEqual(none, {
      endpoint: 'user_media',
      granted: 0,
      grant: '',
      waitMs: 0,
      level: null,
      gatherMs: 5_000,
    })
  })

  test(`${name}: answers a repeated call with what it answered before`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    const once = demand('instagram', [want('user_media', 2)])
    assert.deepEqual(await limiter.decide(once), await limiter.decide(once))
    const levels = await limiter.levels('instagram')
    assert.equal(levels.find(({ level }) => level === 'endpoint:instagram/user_media')?.remaining, 3)
  })

  test(`${name}: blocks an endpoint and a platform, and never for a shorter time than before`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    await limiter.learn({ platform: 'instagram', endpoint: 'user_media' }, { blockMs: 300_000 })
    await limiter.learn({ platform: 'instagram', endpoint: 'user_media' }, { blockMs: 1 })
    await limiter.learn({ platform: 'youtube' }, { blockMs: 200_000 })
    const [media, profile] = await limiter.decide(
      demand('instagram', [want('user_media'), want('user_profile')]),
    )
    assert.equal(media!.granted, 0)
    assert.ok(media!.waitMs > 200_000 && media!.waitMs <= 300_000)
    assert.equal(profile!.granted, 1)
    const [channel] = await limiter.decide(demand('youtube', [want('channel')]))
    assert.deepEqual([channel!.granted, channel!.level], [0, 'platform:youtube'])
    const blocked = (await limiter.levels('youtube')).filter(({ blockedUntilMs }) => blockedUntilMs > 0)
    assert.deepEqual(
      blocked.map(({ level }) => level),
      ['platform:youtube'],
    )
  })

  test(`${name}: takes less of a limit that the upstream refuses, or says to be lower, for all`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    const profile = { platform: 'instagram', endpoint: 'user_profile' }
    const media = { platform: 'instagram', endpoint: 'user_media' }
    // The same burst of refusals.
    await Promise.all([1, 2].map(() => limiter.learn(profile, { rejected: true })))
    await limiter.learn(media, { policy: { limit: 6, windowMs: 20_000 } })
    const wants = [want('user_profile', 60), want('user_media', 60)]
    const [ofProfile, ofMedia] = await limiter.decide(demand('instagram', wants))
    assert.deepEqual([ofProfile!.granted, ofMedia!.granted], [21, 3])
    const factors = (await limiter.levels('instagram')).map(({ level, factor }) => [level, factor])
    assert.deepEqual(Object.fromEntries(factors), {
      global: 1,
      'platform:instagram': 1,
      'endpoint:instagram/user_media': 0.6,
      'endpoint:instagram/user_profile': 0.7,
    })
  })

  test(`${name}: shares the permits that can be used at once among the wants`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    const wants = [want('user_profile', 20), want('elsewhere', 1), want('user_media', 20)]
    const grants = await limiter.decide({ ...demand('instagram', wants), permitsMax: 7 })
    assert.deepEqual(
      grants.map(({ granted, waitMs, level }) => [granted, waitMs, level]),
      [
        [3, 0, null],
        [1, 0, null],
        [3, 0, null],
      ],
    )
  })

  test(`${name}: shows every level of a platform`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    await limiter.decide(demand('instagram', [want('user_media', 2)]))
    const levels = await limiter.levels('instagram')
    for (const { factor, waiting, resetsAtMs } of levels)
      assert.deepEqual([factor, waiting, resetsAtMs], [1, 0, 0])
    assert.deepEqual(
      levels.map(({ level, kind, remaining, capacity }) => [level, kind, remaining, capacity]),
      [
        ['global', 'bucket', 998, 1000],
        ['platform:instagram', 'bucket', 48, 50],
        ['endpoint:instagram/user_media', 'window', 3, 5],
        ['endpoint:instagram/user_profile', 'window', 30, 30],
      ],
    )
    assert.deepEqual(
      levels.map(({ rate }) => rate),
      [0.001, 0.001, 0.5, 0.5],
    )
  })

  test(`${name}: refuses what can never be granted`, async (t) => {
    const limiter = await open(t)
    if (limiter === null) return
    await assert.rejects(limiter.decide(demand('youtube', [want('search', 1, 2_000)])), {
      code: 'LIMIT_DEMAND',
    })
    await assert.rejects(limiter.decide(demand('nowhere', [want('x')])), { code: 'LIMIT_UNKNOWN_PLATFORM' })
    await assert.rejects(limiter.decide(demand('instagram', [want('a b')])), { code: 'LIMIT_DEMAND' })
  })
}
