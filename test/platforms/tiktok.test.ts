import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tiktok } from '../../src/platforms/tiktok.ts'
import { jobOf, jsonReply, reasonOf, recordedContext } from './recorded-context.ts'

const OK = { code: 'ok', message: '', log_id: '20261121' }

const USER = {
  data: {
    display_name: 'Joe',
    bio_description: 'joe@example.org',
    avatar_url: 'https://p16.example/joe.webp',
    is_verified: true,
    follower_count: 1000,
    following_count: 10,
    likes_count: 27_155_089,
    video_count: 44,
  },
  error: OK,
}

function videosReply(ids: readonly (string | number)[], place: { cursor: number; has_more: boolean }) {
  const videos = ids.map((id) => ({
    id,
    video_description: `Clip ${id}`,
    create_time: 1_763_000_000,
    like_count: 90,
    comment_count: 10,
    share_count: 5,
    view_count: 4000,
  }))
  return { data: { videos, search_id: '7201388525814961198', ...place }, error: OK }
}

test('a full scrape asks for the user and for the videos of the last thirty days', async () => {
  const { context, calls } = recordedContext(tiktok, {
    user_info: [USER],
    video_query: [videosReply(['7213456789012345678'], { cursor: 1, has_more: false })],
  })
  const type = tiktok.jobs.full_profile_scrape
  const harvest = await type.run(jobOf(type, 'joe', {}), context)

  assert.deepEqual(calls[0]?.json, { username: 'joe' })
  assert.deepEqual(calls[1]?.json, {
    query: { and: [{ operation: 'EQ', field_name: 'username', field_values: ['joe'] }] },
    max_count: 100,
    start_date: '20261021',
    end_date: '20261120',
  })
  const points = harvest.rows?.flatMap((row) => (row.table === 'points' ? [[row.metric, row.value]] : []))
  assert.deepEqual(points, [
    ['followers', 1000],
    ['following', 10],
    ['posts', 44],
    ['likes', 27_155_089],
    ['engagement_rate', 0.1],
  ])
  const creator = harvest.rows?.find((row) => row.table === 'creators')
  assert.equal(creator?.verified, true)
  assert.equal(creator?.email, 'joe@example.org')
  const media = harvest.rows?.find((row) => row.table === 'media')
  assert.equal(media?.url, 'https://www.tiktok.com/@joe/video/7213456789012345678')
  assert.deepEqual(harvest.pictures, [{ url: 'https://p16.example/joe.webp', subject: 'avatar' }])
})

test('an id that arrives as a number still is digits', async () => {
  const { context } = recordedContext(tiktok, {
    video_query: [videosReply([Number('7213456789012345678')], { cursor: 1, has_more: false })],
  })
  const { media } = tiktok.jobs
  const harvest = await media.run(jobOf(media, 'joe', {}), context)
  assert.match(
    String(harvest.rows?.flatMap((row) => (row.table === 'media' ? [row.mediaId] : []))),
    /^\d{19}$/,
  )
})

test('media goes on with the cursor and the search id, and leaves the rest to a follow-up', async () => {
  const { context, calls } = recordedContext(tiktok, {
    video_query: [
      videosReply(['1'], { cursor: 100, has_more: true }),
      videosReply(['2'], { cursor: 200, has_more: true }),
    ],
  })
  const { media } = tiktok.jobs
  const params = { pages_max: 2, rest: true, days: 7, end_date: '20261101' }
  const harvest = await media.run(jobOf(media, 'joe', params), context)
  assert.deepEqual(calls[1]?.json, {
    query: { and: [{ operation: 'EQ', field_name: 'username', field_values: ['joe'] }] },
    max_count: 100,
    start_date: '20261025',
    end_date: '20261101',
    cursor: 100,
    search_id: '7201388525814961198',
  })
  assert.deepEqual(harvest.data, { posts_read: 2, complete: false })
  const rest = { ...params, cursor: 200, search_id: '7201388525814961198' }
  assert.deepEqual(harvest.followUps, [{ job_type: 'media', params: rest }])
  assert.ok(media.params.safeParse(rest).success)
})

test('a repetition on another day asks for the same period', async () => {
  const asked = []
  for (const _day of [1, 2]) {
    const { context, calls } = recordedContext(tiktok, {
      video_query: [videosReply([], { cursor: 0, has_more: false })],
    })
    const { media } = tiktok.jobs
    await media.run(jobOf(media, 'joe', {}, '2026-03-01T23:59:59Z'), context)
    asked.push(calls[0]?.json)
  }
  assert.deepEqual(asked[0], asked[1])
})

test('the token is asked for with a form and renewed before it ends', async () => {
  const { context, calls } = recordedContext(tiktok, {
    token: [{ access_token: 'clt.abc', expires_in: 7200, token_type: 'Bearer' }],
  })
  const credentials = tiktok.credentials.parse({ client_key: 'k', client_secret: 's' })
  const authorisation = await tiktok.authorise?.(credentials, context)
  assert.deepEqual(calls[0]?.form, { client_key: 'k', client_secret: 's', grant_type: 'client_credentials' })
  assert.deepEqual(authorisation, { headers: { authorization: 'Bearer clt.abc' }, expiresInMs: 7_200_000 })
  assert.equal(tiktok.endpoints.token.authorised, false)
})

function error(code: string, message = 'm') {
  return { data: {}, error: { code, message, log_id: 'x' } }
}

test('a spent day lasts until midnight UTC', () => {
  const reply = jsonReply('user_info', 429, error('daily_quota_limit_exceeded'), {
    date: 'Sat, 21 Nov 2026 22:00:00 GMT',
  })
  const throttle = tiktok.throttled?.(reply)
  assert.equal(throttle?.reason, 'quota_exhausted')
  assert.equal(throttle?.retryAfterMs, 2 * 60 * 60 * 1000)
})

test('reads refusals by their code, also with status 200', () => {
  const cases: [number, object, string | undefined][] = [
    [200, USER, undefined],
    [429, error('rate_limit_exceeded'), 'rate_limited'],
    [200, error('rate_limit_exceeded'), 'rate_limited'],
    [401, error('access_token_invalid'), 'unauthorized'],
    [200, error('access_token_invalid'), 'unauthorized'],
    [401, error('scope_not_authorized'), 'forbidden'],
    [404, error('not_found'), 'not_found'],
    [400, error('invalid_params', 'The username cannot be found'), 'not_found'],
    [400, error('invalid_params', "The user doesn't exist"), 'not_found'],
    [400, error('invalid_params', 'The account is private'), 'private'],
    [400, error('invalid_params', 'username joe is invalid: cannot find the user'), 'not_found'],
    [400, error('invalid_params', "API cannot return this user's information"), 'private'],
    [400, error('invalid_params', 'Fields is invalid'), 'bad_response'],
    [400, error('scope_permission_missed'), 'forbidden'],
    [200, error('internal_error'), 'upstream_error'],
    [500, 'nothing' as unknown as object, undefined],
  ]
  for (const [status, body, reason] of cases) {
    assert.equal(reasonOf(tiktok, jsonReply('user_info', status, body)), reason, JSON.stringify(body))
  }
})

test('a cached search that TikTok does not have, yet or any more, is its own trouble', () => {
  const cases: [string, string][] = [
    ['Search Id 7201388525814961198 is invalid or expired', 'upstream_error'],
    ['Invalid count or cursor', 'upstream_error'],
    ['The end_date must be no more than 30 days after the start_date', 'bad_response'],
  ]
  for (const [text, reason] of cases) {
    assert.equal(reasonOf(tiktok, jsonReply('video_query', 400, error('invalid_params', text))), reason, text)
  }
})

test('a page with fewer videos than asked for is not the last while there are more', async () => {
  const { context, calls } = recordedContext(tiktok, {
    video_query: [
      videosReply([1, 2], { cursor: 100, has_more: true }),
      videosReply([], { cursor: 200, has_more: true }),
      videosReply([3], { cursor: 300, has_more: false }),
    ],
  })
  const { media } = tiktok.jobs
  const harvest = await media.run(jobOf(media, 'joe', {}), context)
  assert.deepEqual(
    calls.map((call) => (call.json as { cursor?: number }).cursor),
    [undefined, 100, 200],
  )
  assert.deepEqual(
    harvest.rows?.flatMap((row) => (row.table === 'media' ? [row.mediaId] : [])),
    ['1', '2', '3'],
  )
})

test('a refused client key is our credential, not the creator', () => {
  const body = {
    error: 'invalid_client',
    error_description: 'Client key or secret is incorrect.',
    log_id: 'x',
  }
  assert.equal(reasonOf(tiktok, jsonReply('token', 400, body)), 'unauthorized')
})
