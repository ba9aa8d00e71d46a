import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { AttemptError } from '../../src/job/errors.ts'
import type { Harvest } from '../../src/job/outcome.ts'
import { instagram } from '../../src/platforms/instagram.ts'
import { tiktok } from '../../src/platforms/tiktok.ts'
import { youtube } from '../../src/platforms/youtube.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import {
  DEFAULT_CREDENTIALS,
  OPEN_LIMITS,
  type Played,
  type SimulatorOptions,
} from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { jobOf } from '../platforms/recorded-context.ts'
import { httpContext } from './http-context.ts'

const SHARES = { missingShare: 0.1, privateShare: 0.1 }

async function started(t: TestContext, options: Partial<SimulatorOptions> = {}) {
  const simulator = createSimulator({ latencyMs: 0, jitterMs: 0, limits: OPEN_LIMITS, ...SHARES, ...options })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  return { simulator, base: `http://127.0.0.1:${port}` }
}

function contexts(base: string) {
  return {
    youtube: httpContext(youtube, { origin: `${base}/youtube`, credentials: DEFAULT_CREDENTIALS.youtube }),
    instagram: httpContext(instagram, {
      origin: `${base}/instagram`,
      credentials: DEFAULT_CREDENTIALS.instagram,
    }),
    tiktok: httpContext(tiktok, { origin: `${base}/tiktok`, credentials: DEFAULT_CREDENTIALS.tiktok }),
  }
}

const ids = (platform: Played, count: number, fate: 'public' | 'private' | 'missing' = 'public') =>
  creatorIds(platform, 1, count, { ...SHARES, fate, creators: 1000 })
const today = () => new Date().toISOString()

function metrics(harvest: Harvest): Record<string, number> {
  return Object.fromEntries(
    harvest.rows?.flatMap((row) => (row.table === 'points' ? [[row.metric, row.value]] : [])) ?? [],
  )
}

const because = (reason: string) => (error: unknown) => {
  assert.ok(error instanceof AttemptError, String(error))
  assert.equal(error.reason, reason, error.message)
  return true
}

test('every adapter makes a full scrape of a played creator', async (t) => {
  const { base } = await started(t)
  const context = contexts(base)
  for (const id of ids('youtube', 10)) {
    const type = youtube.jobs.full_profile_scrape
    const found = metrics(await type.run(jobOf(type, id, {}, today()), context.youtube))
    assert.ok(found.followers! > 0 && found.posts! > 0 && found.views! >= 0 && found.engagement_rate! > 0, id)
  }
  for (const id of ids('instagram', 10)) {
    const type = instagram.jobs.full_profile_scrape
    const harvest = await type.run(jobOf(type, id, {}, today()), context.instagram)
    assert.ok(metrics(harvest).followers! > 0 && metrics(harvest).following! > 0, id)
    assert.ok(harvest.pictures!.length >= 1 && harvest.pictures!.length <= 4)
  }
  for (const id of ids('tiktok', 10)) {
    const type = tiktok.jobs.full_profile_scrape
    const found = metrics(await type.run(jobOf(type, id, {}, today()), context.tiktok))
    assert.ok(found.followers! > 0 && found.likes! >= 0, id)
  }
})

test('a channel is the same by id and by handle', async (t) => {
  const { base } = await started(t, { timeScale: 0 })
  const context = contexts(base).youtube
  const { profile } = youtube.jobs
  const byId = await profile.run(jobOf(profile, ids('youtube', 1)[0]!, {}), context)
  const handle = (byId.data as { handle: string }).handle
  const byHandle = await profile.run(jobOf(profile, `@${handle}`, {}), context)
  assert.deepEqual(metrics(byHandle), metrics(byId))
})

test('YouTube answers for fifty ids at once, in any order, without those that it does not know', async (t) => {
  const { base } = await started(t, { timeScale: 0 })
  const context = contexts(base).youtube
  const known = ids('youtube', 48)
  const asked = [...known, ...ids('youtube', 2, 'missing')]
  const ask = (list: readonly string[], more: object = {}) =>
    context.get('channel', { query: { part: 'id', id: list.join(','), ...more } })
  const found = (await ask(asked, { maxResults: 50 })).items.map(({ id }) => id)
  assert.deepEqual([...found].sort(), [...known].sort())
  assert.notDeepEqual(found, known)
  assert.equal(
    (await ask(asked)).items.length,
    5,
    'five are what the reference promises unless asked for more',
  )
  await assert.rejects(ask([...asked, 'UC'], { maxResults: 50 }), AttemptError)
  const channels = await context.getMany('channel', asked, { query: { part: 'id', maxResults: 50 } })
  assert.deepEqual([...channels.keys()], known)
})

test('all pages together hold every post once', async (t) => {
  const { base } = await started(t, { timeScale: 0 })
  const context = contexts(base)
  const mediaIds = (harvest: Harvest) =>
    harvest.rows!.flatMap((row) => (row.table === 'media' ? [row.mediaId] : []))
  const byPlatform = [
    async (id: string) => {
      const { media, profile } = youtube.jobs
      const posts = metrics(await profile.run(jobOf(profile, id, {}), context.youtube)).posts!
      return [posts, await media.run(jobOf(media, id, { pages_max: 50 }), context.youtube)] as const
    },
    async (id: string) => {
      const { media, profile } = instagram.jobs
      const posts = metrics(await profile.run(jobOf(profile, id, {}), context.instagram)).posts!
      return [posts, await media.run(jobOf(media, id, { pages_max: 100 }), context.instagram)] as const
    },
  ]
  for (const [at, run] of byPlatform.entries()) {
    const [posts, harvest] = await run(ids(at === 0 ? 'youtube' : 'instagram', 3)[2]!)
    const found = mediaIds(harvest)
    assert.equal(found.length, posts)
    assert.equal(new Set(found).size, posts)
    assert.deepEqual((harvest.data as { complete: boolean }).complete, true)
  }
})

test('a TikTok search goes on by cursor and search id, and only with it', async (t) => {
  const { base } = await started(t, { timeScale: 0 })
  const context = contexts(base).tiktok
  const now = new Date()
  const day = (ago: number) =>
    new Date(now.getTime() - ago * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '')
  const ask = (username: string, more: object) =>
    context.get('video_query', {
      query: { fields: 'id,create_time' },
      json: {
        query: { and: [{ operation: 'EQ', field_name: 'username', field_values: [username] }] },
        start_date: day(29),
        end_date: day(0),
        max_count: 2,
        ...more,
      },
    })
  let busiest: string | undefined
  for (const id of ids('tiktok', 30)) {
    if ((await ask(id, {})).data.has_more) busiest = id
  }
  assert.ok(busiest)
  const first = await ask(busiest, {})
  const second = await ask(busiest, { cursor: first.data.cursor, search_id: first.data.search_id })
  const all = [...first.data.videos, ...second.data.videos].map((video) => video.create_time)
  assert.deepEqual(
    all,
    [...all].sort((a, b) => b - a),
  )
  assert.equal(second.data.cursor, first.data.cursor + second.data.videos.length)
  await assert.rejects(ask(busiest, { cursor: 2, search_id: 'stale' }), because('upstream_error'))
  await assert.rejects(ask(busiest, { start_date: day(40) }), because('bad_response'))
})

test('missing and private creators are told as each platform tells it', async (t) => {
  const { base } = await started(t)
  const context = contexts(base)
  for (const id of ids('youtube', 3, 'missing')) {
    const { profile } = youtube.jobs
    await assert.rejects(profile.run(jobOf(profile, id, {}), context.youtube), because('not_found'))
  }
  for (const id of [...ids('instagram', 3, 'missing'), ...ids('instagram', 3, 'private'), 'never.heard.of']) {
    const { profile } = instagram.jobs
    await assert.rejects(profile.run(jobOf(profile, id, {}), context.instagram), because('not_found'))
  }
  for (const [fate, reason] of [
    ['missing', 'not_found'],
    ['private', 'private'],
  ] as const) {
    for (const id of ids('tiktok', 3, fate)) {
      const { profile } = tiktok.jobs
      await assert.rejects(profile.run(jobOf(profile, id, {}), context.tiktok), because(reason))
    }
  }
  const { profile } = youtube.jobs
  const hidden = await profile.run(jobOf(profile, ids('youtube', 1, 'private')[0]!, {}), context.youtube)
  assert.equal(metrics(hidden).followers, undefined)
})

test('a single Instagram post is found by its id', async (t) => {
  const { base } = await started(t, { timeScale: 0 })
  const context = contexts(base).instagram
  const { media, media_details } = instagram.jobs
  const posts = await media.run(jobOf(media, ids('instagram', 1)[0]!, { pages_max: 1 }), context)
  const first = posts.rows!.find((row) => row.table === 'media')!
  const harvest = await media_details.run(jobOf(media_details, 'x', { media_ids: [first.mediaId] }), context)
  assert.deepEqual(
    harvest.rows!.find((row) => row.table === 'media'),
    first,
  )
  const wrong = await media_details.run(
    jobOf(media_details, 'x', { media_ids: ['179000000000011499'] }),
    context,
  )
  assert.deepEqual(wrong.data, { posts_read: 0, complete: false, missing: ['179000000000011499'] })
})

test('wrong credentials are refused as the platforms refuse them', async (t) => {
  const { base } = await started(t)
  const yt = httpContext(youtube, { origin: `${base}/youtube`, credentials: { key: 'wrong' } })
  await assert.rejects(yt.get('channel', { query: { id: 'UC' } }), because('unauthorized'))
  const ig = httpContext(instagram, {
    origin: `${base}/instagram`,
    credentials: { ...DEFAULT_CREDENTIALS.instagram, access_token: 'wrong' },
  })
  await assert.rejects(ig.get('user_profile', { query: { fields: 'x' } }), because('unauthorized'))
  const tt = httpContext(tiktok, {
    origin: `${base}/tiktok`,
    credentials: { client_key: 'a', client_secret: 'b' },
  })
  await assert.rejects(tt.get('user_info', { json: { username: 'x' } }), because('unauthorized'))
})

test('a TikTok token ends when its life is over', async (t) => {
  let now = Date.now()
  const { base } = await started(t, { wallClock: () => now, tokenLifeS: 60 })
  const context = contexts(base).tiktok
  const { profile } = tiktok.jobs
  const job = jobOf(profile, ids('tiktok', 1)[0]!, {})
  await profile.run(job, context)
  now += 61_000
  await assert.rejects(profile.run(job, context), because('unauthorized'))
})

test('over a limit, each platform says slow down in its own way, and for how long', async (t) => {
  let clock = 0
  const { base, simulator } = await started(t, {
    clock: () => clock,
    limits: {
      platforms: { youtube: { rate: 1, burst: 2 } },
      endpoints: { 'instagram/user_profile': { limit: 1, windowMs: 90_000 } },
      defaultEndpoint: { limit: 2, windowMs: 10_000 },
    },
  })
  const context = contexts(base)
  const slow = (blocks: string, retryAfterMs: number) => (error: unknown) => {
    assert.ok(error instanceof AttemptError, String(error))
    assert.equal(error.reason, 'rate_limited')
    assert.equal(error.blocks, blocks)
    assert.equal(error.retryAfterMs, retryAfterMs)
    return true
  }
  const channel = () => context.youtube.get('channel', { query: { id: ids('youtube', 1)[0]! } })
  await channel()
  await channel()
  await assert.rejects(channel(), slow('credential', 10_000))
  clock += 1000
  await assert.rejects(channel(), slow('credential', 9000))
  clock += 9000
  await channel()

  const { profile } = instagram.jobs
  const job = jobOf(profile, ids('instagram', 1)[0]!, {})
  await profile.run(job, context.instagram)
  await assert.rejects(profile.run(job, context.instagram), slow('endpoint', 90_000))

  const { profile: user } = tiktok.jobs
  const tiktokJob = jobOf(user, ids('tiktok', 1)[0]!, {})
  await user.run(tiktokJob, context.tiktok)
  await user.run(tiktokJob, context.tiktok)
  await assert.rejects(user.run(tiktokJob, context.tiktok), slow('endpoint', 10_000))

  const report = simulator.report()
  assert.equal(report.violations, 4)
  assert.equal(report.byStatus['403'], 3)
  assert.equal(report.byStatus['429'], 1)
  assert.equal(report.levels.find(({ level }) => level === 'platform:youtube')?.violations, 1)
})

test('a spent daily quota is told, and is no violation', async (t) => {
  let now = Date.parse('2026-11-21T07:59:00Z')
  const { base, simulator } = await started(t, {
    wallClock: () => now,
    limits: { ...OPEN_LIMITS, dailyQuota: { youtube: 1 } },
  })
  const context = contexts(base).youtube
  const channel = () => context.get('channel', { query: { id: ids('youtube', 1)[0]! } })
  await channel()
  await assert.rejects(channel(), because('quota_exhausted'))
  assert.equal(simulator.report().quotaRefusals, 1)
  assert.equal(simulator.report().violations, 0)
  // Midnight Pacific.
  now += 60_000
  await channel()
})
