import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AttemptError } from '../../src/job/errors.ts'
import { youtube } from '../../src/platforms/youtube.ts'
import { jobOf, jsonReply, reasonOf, recordedContext } from './recorded-context.ts'

const CHANNEL_ID = 'UC_x5XG1OV2P6uZZ5FSM9Ttw'

function channelReply(statistics: object = {}) {
  return {
    kind: 'youtube#channelListResponse',
    etag: 'x',
    pageInfo: { totalResults: 1, resultsPerPage: 5 },
    items: [
      {
        kind: 'youtube#channel',
        id: CHANNEL_ID,
        snippet: {
          title: 'Google for\u200B Developers',
          description: 'Talks.\nPress: press@example.com',
          customUrl: '@GoogleDevelopers',
          thumbnails: {
            default: { url: 'https://yt3.example/s88' },
            high: { url: 'https://yt3.example/s800' },
          },
        },
        contentDetails: { relatedPlaylists: { likes: '', uploads: 'UU_x5XG1OV2P6uZZ5FSM9Ttw' } },
        statistics: {
          viewCount: '1500000',
          subscriberCount: '200000',
          hiddenSubscriberCount: false,
          videoCount: '2',
          ...statistics,
        },
      },
    ],
  }
}

function itemsReply(ids: readonly string[], nextPageToken?: string) {
  return {
    kind: 'youtube#playlistItemListResponse',
    ...(nextPageToken === undefined ? {} : { nextPageToken }),
    items: ids.map((videoId) => ({ contentDetails: { videoId, videoPublishedAt: '2026-11-01T10:00:00Z' } })),
  }
}

function videosReply(ids: readonly string[]) {
  return {
    kind: 'youtube#videoListResponse',
    items: ids.map((id, at) => ({
      id,
      snippet: {
        title: `Video ${id}`,
        publishedAt: `2026-11-0${at + 1}T10:00:00Z`,
        thumbnails: { medium: { url: `https://i.ytimg.example/${id}/m.jpg` } },
      },
      // The second one hides its likes.
      statistics: { viewCount: '1000', commentCount: '10', ...(at === 1 ? {} : { likeCount: '9990' }) },
    })),
  }
}

test('a full scrape reads the channel, its newest uploads and their numbers', async () => {
  const { context, calls } = recordedContext(youtube, {
    channel: [channelReply()],
    playlist_items: [itemsReply(['a', 'b'])],
    videos: [videosReply(['a', 'b'])],
  })
  const type = youtube.jobs.full_profile_scrape
  const harvest = await type.run(jobOf(type, CHANNEL_ID, { pictures_max: 1 }), context)

  const part = 'snippet,statistics,contentDetails'
  assert.deepEqual(calls[0]?.query, { part, maxResults: 50, id: CHANNEL_ID })
  assert.equal(calls[1]?.query?.playlistId, 'UU_x5XG1OV2P6uZZ5FSM9Ttw')
  assert.equal(calls[2]?.query?.id, 'a,b')
  const points = harvest.rows?.filter((row) => row.table === 'points').map((row) => [row.metric, row.value])
  assert.deepEqual(points, [
    ['followers', 200_000],
    ['posts', 2],
    ['views', 1_500_000],
    ['engagement_rate', 0.05],
  ])
  const creator = harvest.rows?.find((row) => row.table === 'creators')
  assert.equal(creator?.name, 'Google for Developers')
  assert.equal(creator?.handle, 'googledevelopers')
  assert.equal(creator?.email, 'press@example.com')
  assert.deepEqual(creator?.flags, [])
  assert.equal(harvest.rows?.filter((row) => row.table === 'media').length, 2)
  assert.deepEqual(
    harvest.rows
      ?.filter((row) => row.table === 'media_points' && row.mediaId === 'b')
      .map((row) => 'metric' in row && row.metric),
    ['views', 'comments'],
  )
  assert.deepEqual(harvest.pictures, [
    { url: 'https://yt3.example/s800', subject: 'avatar' },
    { url: 'https://i.ytimg.example/b/m.jpg', subject: 'b' },
  ])
})

test('a handle is asked for by handle', async () => {
  const { context, calls } = recordedContext(youtube, { channel: [channelReply()] })
  const { profile } = youtube.jobs
  await profile.run(jobOf(profile, '@googledevelopers', {}), context)
  assert.equal(calls[0]?.query?.forHandle, '@googledevelopers')
  assert.equal(calls[0]?.query?.id, undefined)
})

test('hidden subscribers are no point, and a flag', async () => {
  const { context } = recordedContext(youtube, {
    channel: [channelReply({ hiddenSubscriberCount: true, subscriberCount: '0' })],
  })
  const { profile } = youtube.jobs
  const { rows } = await profile.run(jobOf(profile, CHANNEL_ID, {}), context)
  assert.ok(!rows?.some((row) => row.table === 'points' && row.metric === 'followers'))
  assert.deepEqual(rows?.find((row) => row.table === 'creators')?.flags, ['hidden_followers'])
})

test('a reply without items means that there is no such channel', async () => {
  const { context } = recordedContext(youtube, {
    channel: [{ kind: 'youtube#channelListResponse', pageInfo: { totalResults: 0, resultsPerPage: 5 } }],
  })
  const { profile } = youtube.jobs
  await assert.rejects(profile.run(jobOf(profile, CHANNEL_ID, {}), context), (error) => {
    return error instanceof AttemptError && error.reason === 'not_found'
  })
})

test('a channel whose uploads playlist does not exist is there all the same', async () => {
  const { context } = recordedContext(youtube, {
    channel: [channelReply()],
    playlist_items: [new AttemptError('not_found', 'playlistNotFound')],
  })
  const type = youtube.jobs.full_profile_scrape
  const harvest = await type.run(jobOf(type, CHANNEL_ID, {}), context)
  assert.equal(harvest.rows?.filter((row) => row.table === 'creators').length, 1)
})

test('media reads as many pages as allowed and leaves the rest to a follow-up that knows the playlist', async () => {
  const { context } = recordedContext(youtube, {
    channel: [channelReply()],
    playlist_items: [itemsReply(['a'], 'T1'), itemsReply(['b'], 'T2')],
    videos: [videosReply(['a']), videosReply(['b'])],
  })
  const { media, media_pages } = youtube.jobs
  const harvest = await media.run(jobOf(media, CHANNEL_ID, { pages_max: 2, rest: true }), context)
  assert.deepEqual(harvest.data, { posts_read: 2, complete: false })
  const followUp = harvest.followUps?.[0]
  assert.equal(followUp?.job_type, 'media_pages')
  assert.equal(followUp?.params?.cursor, 'T2')

  const later = recordedContext(youtube, {
    playlist_items: [itemsReply(['c'])],
    videos: [videosReply(['c'])],
  })
  const params = media_pages.params.parse(followUp?.params)
  const last = await media_pages.run(jobOf(media_pages, CHANNEL_ID, params), later.context)
  assert.equal(later.calls[0]?.query?.pageToken, 'T2')
  assert.deepEqual(last.data, { posts_read: 1, complete: true })
  assert.deepEqual(last.followUps, [])
})

test('a page token that repeats ends the reading', async () => {
  const { context } = recordedContext(youtube, {
    channel: [channelReply()],
    playlist_items: [itemsReply(['a'], 'T1'), itemsReply(['b'], 'T1')],
    videos: [videosReply(['a']), videosReply(['b'])],
  })
  const { media } = youtube.jobs
  const harvest = await media.run(jobOf(media, CHANNEL_ID, { pages_max: 9, rest: true }), context)
  assert.deepEqual(harvest.data, { posts_read: 2, complete: true })
})

test('more fields than documented are fine, a field of another type is not', () => {
  const { response } = youtube.endpoints.channel
  assert.ok(response.safeParse({ ...channelReply(), extra: 1 }).success)
  const wrong = response.safeParse(channelReply({ subscriberCount: 200_000 }))
  assert.deepEqual(wrong.error?.issues[0]?.path, ['items', 0, 'statistics', 'subscriberCount'])
})

function googleError(code: number, reason: string, message = reason, more: object = {}) {
  return { error: { code, message, errors: [{ message, domain: 'd', reason }], ...more } }
}

test('a spent day lasts until midnight Pacific and is not forbidden', () => {
  const reply = jsonReply(
    'channel',
    403,
    googleError(403, 'quotaExceeded', 'exceeded your <a href="/x">quota</a>.'),
    {
      date: 'Sat, 21 Nov 2026 07:00:00 GMT',
    },
  )
  const throttle = youtube.throttled?.(reply)
  assert.equal(throttle?.reason, 'quota_exhausted')
  assert.equal(throttle?.retryAfterMs, 60 * 60 * 1000)
  assert.equal(throttle?.scope, 'credential')
  assert.ok(throttle?.message.includes('exceeded your quota.'))
})

test('reads refusals by their reason', () => {
  const cases: [number, object, string | undefined][] = [
    [403, googleError(403, 'rateLimitExceeded'), 'rate_limited'],
    [429, googleError(429, 'rateLimitExceeded'), 'rate_limited'],
    [403, googleError(403, 'forbidden'), 'forbidden'],
    [403, googleError(403, 'accessNotConfigured'), 'forbidden'],
    [403, googleError(403, 'playlistItemsNotAccessible'), 'private'],
    [404, googleError(404, 'playlistNotFound'), 'not_found'],
    [400, googleError(400, 'keyInvalid'), 'unauthorized'],
    [400, googleError(400, 'badRequest', 'API key not valid. Please pass a valid API key.'), 'unauthorized'],
    [400, googleError(400, 'badRequest', 'x', { details: [{ reason: 'API_KEY_INVALID' }] }), 'unauthorized'],
    [400, googleError(400, 'invalidPageToken'), undefined],
    [403, googleError(403, 'userRateLimitExceeded'), 'rate_limited'],
    [403, googleError(403, 'servingLimitExceeded'), 'rate_limited'],
    [403, googleError(403, 'concurrentLimitExceeded'), 'rate_limited'],
    [403, googleError(403, 'dailyLimitExceeded'), 'quota_exhausted'],
    [400, googleError(400, 'processingFailure'), 'upstream_error'],
    [403, googleError(403, 'channelSuspended'), 'not_found'],
    [403, googleError(403, 'channelForbidden'), 'private'],
    [403, googleError(403, 'ipRefererBlocked'), 'forbidden'],
    [503, googleError(503, 'backendError'), undefined],
    [
      429,
      { error: { code: 429, details: [{ metadata: { quota_limit: 'defaultPerDayPerProject' } }] } },
      'quota_exhausted',
    ],
    [200, channelReply(), undefined],
  ]
  for (const [status, body, reason] of cases) {
    assert.equal(reasonOf(youtube, jsonReply('channel', status, body)), reason, JSON.stringify(body))
  }
})
