import assert from 'node:assert/strict'
import { test } from 'node:test'
import { instagram } from '../../src/platforms/instagram.ts'
import { jobOf, jsonReply, reasonOf, recordedContext } from './recorded-context.ts'

const OWN = '17841405309211844'

function profileReply(more: object = {}) {
  return {
    business_discovery: {
      username: 'BlueBottle',
      name: 'Blue Bottle Coffee',
      biography: 'Coffee. hello (at) example (dot) com',
      profile_picture_url: 'https://scontent.example/avatar.jpg',
      followers_count: 267_788,
      follows_count: 12,
      media_count: 1205,
      id: '17841401441775531',
      ...more,
    },
    id: OWN,
  }
}

function post(id: string, more: object = {}) {
  return {
    id,
    caption: `Post ${id}`,
    media_type: 'IMAGE',
    media_url: `https://scontent.example/${id}.jpg`,
    permalink: `https://www.instagram.com/p/${id}/`,
    timestamp: '2026-11-19T12:48:57+0000',
    like_count: 100_000,
    comments_count: 100,
    ...more,
  }
}

function mediaReply(posts: readonly object[], after?: string) {
  const paging = after === undefined ? {} : { paging: { cursors: { after } } }
  return { business_discovery: { media: { data: posts, ...paging }, id: '17841401441775531' }, id: OWN }
}

test('a full scrape asks for the profile and the newest posts by field expansion', async () => {
  const { context, calls } = recordedContext(instagram, {
    user_profile: [profileReply()],
    user_media: [
      mediaReply(
        [
          post('1'),
          post('2', {
            media_type: 'VIDEO',
            media_url: 'https://x.example/2.mp4',
            thumbnail_url: 'https://x.example/2.jpg',
            view_count: 5,
          }),
          post('3', {
            media_type: 'CAROUSEL_ALBUM',
            like_count: undefined,
            timestamp: '2020-01-01T00:00:00+0000',
          }),
        ],
        'QVF',
      ),
    ],
  })
  const type = instagram.jobs.full_profile_scrape
  const harvest = await type.run(jobOf(type, 'bluebottle', { pictures_max: 2 }), context)

  assert.match(
    String(calls[0]?.query?.fields),
    /^business_discovery\.username\(bluebottle\)\{id,username,.*media_count\}$/,
  )
  assert.match(
    String(calls[1]?.query?.fields),
    /^business_discovery\.username\(bluebottle\)\{id,media\.limit\(25\)\{id,.*\}\}$/,
  )
  const points = Object.fromEntries(
    harvest.rows?.flatMap((row) => (row.table === 'points' ? [[row.metric, row.value]] : [])) ?? [],
  )
  assert.deepEqual(points, {
    followers: 267_788,
    following: 12,
    posts: 1205,
    engagement_rate: 100_100 / 267_788,
  })
  const creator = harvest.rows?.find((row) => row.table === 'creators')
  assert.equal(creator?.handle, 'bluebottle')
  assert.equal(creator?.email, 'hello@example.com')
  assert.deepEqual(creator?.flags, ['suspicious_engagement'])
  assert.deepEqual(
    harvest.rows?.flatMap((row) => (row.table === 'media' ? [row.kind] : [])),
    ['image', 'video', 'album'],
  )
  // The picture of a video is its thumbnail.
  assert.deepEqual(
    harvest.pictures?.map(({ url }) => url),
    ['https://scontent.example/avatar.jpg', 'https://scontent.example/1.jpg', 'https://x.example/2.jpg'],
  )
})

test('an account without posts costs one call', async () => {
  const { context, calls } = recordedContext(instagram, { user_profile: [profileReply({ media_count: 0 })] })
  const type = instagram.jobs.full_profile_scrape
  await type.run(jobOf(type, 'bluebottle', {}), context)
  assert.equal(calls.length, 1)
})

test('media follows the cursors until an empty page', async () => {
  const { context, calls } = recordedContext(instagram, {
    user_media: [mediaReply([post('1')], 'AAA'), mediaReply([post('2')], 'BBB'), mediaReply([])],
  })
  const { media } = instagram.jobs
  const harvest = await media.run(jobOf(media, 'bluebottle', { pages_max: 10, rest: true }), context)
  assert.match(String(calls[1]?.query?.fields), /media\.after\(AAA\)\.limit\(25\)/)
  assert.match(String(calls[2]?.query?.fields), /media\.after\(BBB\)/)
  assert.deepEqual(harvest.data, { posts_read: 2, complete: true })
  assert.deepEqual(harvest.followUps, [])
})

test('media leaves the rest to a follow-up when asked to, and to nobody otherwise', async () => {
  const { media } = instagram.jobs
  for (const rest of [true, false]) {
    const { context } = recordedContext(instagram, { user_media: [mediaReply([post('1')], 'AAA')] })
    const harvest = await media.run(jobOf(media, 'bluebottle', { pages_max: 1, rest }), context)
    assert.deepEqual(harvest.data, { posts_read: 1, complete: false })
    assert.deepEqual(
      harvest.followUps,
      rest ? [{ job_type: 'media', params: { pages_max: 1, rest: true, cursor: 'AAA' } }] : [],
    )
  }
})

test('media_details asks for each post by its id', async () => {
  const { context, calls } = recordedContext(instagram, { media_details: [post('179'), post('180')] })
  const { media_details } = instagram.jobs
  const harvest = await media_details.run(jobOf(media_details, 'x', { media_ids: ['179', '180'] }), context)
  assert.deepEqual(
    calls.map((call) => call.path),
    [{ media_id: '179' }, { media_id: '180' }],
  )
  assert.equal(harvest.rows?.filter((row) => row.table === 'media').length, 2)
})

test('the token travels in a header, and the own account fills the path', async () => {
  const credentials = instagram.credentials.parse({ access_token: 'EAAB', ig_user_id: OWN })
  const { context } = recordedContext(instagram, {})
  const authorisation = await instagram.authorise?.(credentials, context)
  assert.deepEqual(authorisation, { headers: { authorization: 'Bearer EAAB' }, path: { ig_user_id: OWN } })
})

function graphError(code: number, more: object = {}) {
  return { error: { message: 'm', type: 'OAuthException', code, fbtrace_id: 'A', ...more } }
}

test('a throttle lasts as long as the usage header says, in minutes', () => {
  const usage = { [OWN]: [{ type: 'instagram', call_count: 100, estimated_time_to_regain_access: 19 }] }
  const reply = jsonReply('user_profile', 403, graphError(4), {
    'x-business-use-case-usage': JSON.stringify(usage),
  })
  assert.deepEqual(instagram.throttled?.(reply), {
    reason: 'rate_limited',
    message: 'Instagram: m (code 4)',
    retryAfterMs: 19 * 60_000,
    scope: 'credential',
  })
  const unreadable = jsonReply('user_profile', 403, graphError(613), { 'x-business-use-case-usage': '{' })
  const throttle = instagram.throttled?.(unreadable)
  assert.equal(throttle?.retryAfterMs, undefined)
  assert.equal(throttle?.scope, 'endpoint')
})

test('reads refusals by their code', () => {
  const cases: [object, string | undefined][] = [
    [graphError(17), 'rate_limited'],
    [graphError(32), 'rate_limited'],
    [graphError(80_002), 'rate_limited'],
    [graphError(190, { error_subcode: 463 }), 'unauthorized'],
    [graphError(110, { error_subcode: 2_207_013 }), 'not_found'],
    [graphError(24), 'not_found'],
    [graphError(100, { error_subcode: 33 }), 'not_found'],
    [graphError(100, { error_subcode: 2_207_013 }), 'not_found'],
    [graphError(10), 'forbidden'],
    [graphError(200), 'forbidden'],
    [graphError(2), 'upstream_error'],
    [graphError(36_000), undefined],
  ]
  for (const [body, reason] of cases) {
    assert.equal(reasonOf(instagram, jsonReply('user_profile', 400, body)), reason, JSON.stringify(body))
  }
})

test('a field that was retired does not make creators disappear', () => {
  const body = {
    error: { message: '(#100) Tried accessing nonexistent field (x)', type: 'OAuthException', code: 100 },
  }
  assert.equal(reasonOf(instagram, jsonReply('user_profile', 400, body)), 'bad_response')
})

test('an error body counts with status 200 too', () => {
  assert.equal(reasonOf(instagram, jsonReply('user_profile', 200, graphError(1))), 'upstream_error')
  assert.equal(reasonOf(instagram, jsonReply('user_profile', 200, profileReply())), undefined)
})
