import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BUILT_IN } from '../../src/platforms/registry.ts'
import { creatorIds, Population } from '../../src/simulator/creators.ts'
import { Growth } from '../../src/simulator/growth.ts'
import { PLAYED } from '../../src/simulator/options.ts'

const population = new Population({ seed: 7, count: 1_000_000, missingShare: 0.1, privateShare: 0.2 })
const index = fc.nat({ max: 999_999 })
const platform = fc.constantFrom(...PLAYED)

test('every creator is found again by id, and the adapters accept the ids', () => {
  fc.assert(
    fc.property(platform, index, (name, at) => {
      const handle = population.handle(name, at)
      assert.equal(population.indexOf(name, handle), at)
      assert.equal(BUILT_IN.get(name)?.creatorId?.(handle).replace('@', ''), handle)
    }),
  )
  fc.assert(
    fc.property(index, (at) => {
      const id = population.channelId(at)
      assert.match(id, /^UC[\w-]{22}$/)
      assert.equal(population.indexOf('youtube', id), at)
    }),
  )
})

test('every post is found again by its id', () => {
  fc.assert(
    fc.property(platform, index, fc.nat({ max: 199_999 }), (name, at, n) => {
      assert.deepEqual(population.postOf(name, population.postCode(name, at, n)), { index: at, n })
      assert.deepEqual(population.mediaOf(population.mediaId(at, n)), { index: at, n })
    }),
  )
})

test('ids that were never given out are not found', () => {
  for (const id of ['', 'somebody', 'amber_acorn_zzzzz', 'UC_x5XG1OV2P6uZZ5FSM9Ttw', '_', '0']) {
    for (const name of PLAYED) assert.equal(population.indexOf(name, id), undefined, id)
  }
  assert.equal(population.postOf('youtube', 'dQw4w9WgXcQ'), undefined)
  assert.equal(population.mediaOf('17900000000000000'), undefined)
})

test('shares of missing and private creators are kept', () => {
  const fates = { public: 0, private: 0, missing: 0 }
  for (let at = 0; at < 10_000; at += 1) fates[population.fate('tiktok', at)] += 1
  assert.ok(Math.abs(fates.missing - 1000) < 150, `${fates.missing}`)
  assert.ok(Math.abs(fates.private - 2000) < 200, `${fates.private}`)
})

test('lists ids by fate, the same for the same seed', () => {
  const ids = creatorIds('instagram', 3, 50)
  assert.equal(new Set(ids).size, 50)
  assert.deepEqual(creatorIds('instagram', 3, 50), ids)
  assert.notDeepEqual(creatorIds('instagram', 4, 50), ids)
  const missing = creatorIds('instagram', 3, 5, { fate: 'missing' })
  assert.equal(missing.length, 5)
  assert.ok(missing.every((id) => !creatorIds('instagram', 3, 2000).includes(id)))
  assert.equal(creatorIds('tiktok', 3, 100, { creators: 10 }).length <= 10, true)
})

test('numbers follow from seed, creator and time alone', () => {
  const at = Date.UTC(2026, 10, 21)
  const growth = () => new Growth({ seed: 9, timeScale: 1, epochMs: at })
  assert.deepEqual(growth().creator('youtube', 5, at), growth().creator('youtube', 5, at))
  assert.deepEqual(growth().post('youtube', 5, 3, at), growth().post('youtube', 5, 3, at))
  const one = growth()
  // Asking about others in between changes nothing.
  const before = one.creator('tiktok', 1, at)
  one.creator('tiktok', 2, at)
  assert.deepEqual(one.creator('tiktok', 1, at), before)
})

test('creators grow at different paces, and faster when time is scaled', () => {
  const epochMs = Date.UTC(2026, 10, 21)
  const minute = 60_000
  const scaled = new Growth({ seed: 1, timeScale: 1440, epochMs })
  const gains = Array.from({ length: 200 }, (_, at) => {
    const from = scaled.creator('instagram', at, epochMs).followers
    return (scaled.creator('instagram', at, epochMs + minute).followers - from) / from
  })
  assert.ok(new Set(gains.map((gain) => gain.toFixed(5))).size > 50)
  assert.ok(Math.max(...gains) > 0.005)
})

test('some creators lose most of their followers on the second day, and nobody does before', () => {
  const epochMs = Date.UTC(2026, 10, 21)
  const growth = new Growth({ seed: 1, timeScale: 1, epochMs, dropShare: 0.1 })
  const day = 86_400_000
  const fallen = Array.from({ length: 1000 }, (_, at) => {
    const [first, second, third] = [0, 1, 2].map(
      (n) => growth.creator('tiktok', at, epochMs + n * day).followers,
    )
    assert.ok(second! > 0.9 * first!)
    return third! < second! / 2
  })
  const share = fallen.filter(Boolean).length / fallen.length
  assert.ok(share > 0.06 && share < 0.14, `${share}`)
})

test('a new post appears with time, none is dated in the future, and its likes only rise', () => {
  const epochMs = Date.UTC(2026, 10, 21)
  const growth = new Growth({ seed: 1, timeScale: 1440, epochMs })
  const later = epochMs + 60 * 60_000
  const before = growth.creator('tiktok', 4, epochMs).posts
  const after = growth.creator('tiktok', 4, later).posts
  assert.ok(after > before)
  const newest = growth.post('tiktok', 4, after - 1, later)
  assert.ok(newest !== undefined && newest.publishedAtMs <= later && newest.publishedAtMs > epochMs)
  assert.equal(growth.post('tiktok', 4, after, later), undefined)
  let likes = 0
  for (let at = epochMs; at < later; at += 60_000) {
    const post = growth.post('tiktok', 4, before - 1, at)
    assert.ok(post !== undefined && post.likes >= likes)
    likes = post.likes
  }
})
