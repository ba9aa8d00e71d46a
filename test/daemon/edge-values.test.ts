import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { configSchema } from '../../src/config/schema.ts'
import { startDaemon } from '../../src/daemon.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { DEFAULT_CREDENTIALS, PLAYED, type Played } from '../../src/simulator/options.ts'
import { select } from '../../src/timeseries/engine.ts'
import { need } from '../need.ts'
import { openOwnDatabase, silent } from '../timeseries/support.ts'
import { type Said, startEdges } from './edge-upstream.ts'

const USUAL: Said = {
  ...{ followers: '1000', likes: '10', name: 'Ada', biography: 'Hello' },
  publishedAt: '2026-01-02T03:04:05Z',
}
const DAY_MS = 86_400_000
/** As long as a biography may be, in UTF-16 units. */
const LONG = `${'Biografía مرحبا 🎬 👩‍👩‍👧‍👦 '.repeat(500).slice(0, 9_990).toWellFormed().replaceAll('\ufffd', '')}|end`

interface Edge {
  readonly said?: Partial<Said>
  readonly requestedAt?: string
  /** Older than numbers of posts are kept. */
  readonly forgotten?: true
  /** What is stored instead of what was said. */
  readonly stored?: Partial<Said>
  /** Why it is a dead letter: by platform, what the message says. */
  readonly dead?: RegExp | Readonly<Record<Played, RegExp>>
}

const NOT_A_COUNT = { instagram: /followers_count/, youtube: /subscriberCount/, tiktok: /follower_count/ }
const NO_LIKES = { instagram: /like_count/, youtube: /likeCount/, tiktok: /like_count/ }
/** What is no JSON is one on YouTube, where counts are texts. */
const NO_JSON = { ...NOT_A_COUNT, instagram: /JSON/, tiktok: /JSON/ }
const NO_MOMENT = /published_at: found -?\d+ ms, expected a moment between 1970 and 2100/

/** By creator. */
const EDGES: Readonly<Record<string, Edge>> = {
  usual: {},
  nobody: { said: { followers: '0', likes: '0' } },
  largest: { said: { followers: '9007199254740991', likes: '9007199254740991' } },
  beyond: { said: { followers: '9007199254740992' }, dead: NOT_A_COUNT },
  further: { said: { followers: '9007199254740993' }, dead: NOT_A_COUNT },
  liked: { said: { likes: '9007199254740993' }, dead: NO_LIKES },
  endless: { said: { followers: `1${'0'.repeat(400)}` }, dead: NOT_A_COUNT },
  negative: { said: { followers: '-1' }, dead: NOT_A_COUNT },
  half: { said: { followers: '1.5' }, dead: NOT_A_COUNT },
  huge: { said: { followers: '1e400' }, dead: NOT_A_COUNT },
  nan: { said: { followers: 'NaN' }, dead: NO_JSON },
  long: { said: { biography: LONG, name: '👩‍👩‍👧‍👦 Ünï 名前' } },
  longer: {
    said: { biography: `${LONG}${'x'.repeat(5_000)}` },
    stored: { biography: `${LONG}${'x'.repeat(10_000 - LONG.length)}` },
  },
  cut: { said: { biography: 'cut \ud83d', name: '\udc4d cut' }, stored: { biography: 'cut', name: 'cut' } },
  syntax: { said: { biography: `'"\`\\ \\N {x:String} -- ; /* */ [ null`, name: '\\' } },
  first: { said: { publishedAt: '1970-01-01T00:00:00Z' } },
  before: {
    said: { publishedAt: '1969-12-31T23:59:59Z' },
    dead: { instagram: NO_MOMENT, youtube: NO_MOMENT, tiktok: /create_time/ },
  },
  last: { said: { publishedAt: '2099-12-31T23:59:59Z' } },
  after: { said: { publishedAt: '2100-01-01T00:00:00Z' }, dead: NO_MOMENT },
  epoch: { requestedAt: '1970-01-01T00:00:00.000Z', forgotten: true },
  ending: { requestedAt: '2099-12-31T23:59:59.999Z' },
}

/** When no job can have been asked for. */
const NEVER = ['1969-12-31T23:59:59.999Z', '2100-01-01T00:00:00.000Z']

/** What the tables say of a creator; `points_daily` for the numbers, since `points` forgets old ones. */
const STORED = `SELECT c.platform AS platform, c.creator_id AS creator, c.name AS name, c.biography AS biography,
  toString(c.ts) AS ts, d.value AS points, c.followers AS followers, n.value AS likes, toString(m.published_at) AS published_at
FROM (SELECT * FROM creators FINAL) AS c
LEFT JOIN (SELECT * FROM points_daily FINAL WHERE metric = 'followers') AS d USING (platform, creator_id)
LEFT JOIN (SELECT * FROM media FINAL) AS m USING (platform, creator_id)
LEFT JOIN (SELECT * FROM media_points FINAL WHERE metric = 'likes') AS n USING (platform, creator_id)`

test('what platforms say at the edges of numbers, texts and moments is stored as they say it, or is a dead letter that names it', async (t) => {
  const url = need(t, 'clickhouse')
  if (url === null) return
  const { database } = await openOwnDatabase(t, url)
  const upstream = await startEdges(
    t,
    new Map(Object.entries(EDGES).map(([creator, { said }]) => [creator, { ...USUAL, ...said }])),
  )
  const folder = mkdtempSync(join(tmpdir(), `millrace-edges-${randomUUID()}`))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const wide = { rate: 100, burst: 1_000 }
  const window = { limit: 10_000, window: '10s' }
  const config = configSchema.parse({
    data: folder,
    clickhouse: { url, database },
    limits: {
      ...{ global: wide, platforms: Object.fromEntries(PLAYED.map((platform) => [platform, wide])) },
      ...{
        default_endpoint: window,
        cold_start: 'full',
        jitter: '100ms',
        quotas: { youtube: false, tiktok: false },
      },
      endpoints: {
        instagram: { user_profile: window, user_media: window },
        youtube: { channel: window, videos: window },
        tiktok: { user_info: window },
      },
    },
    platforms: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        {
          ...{ origin: `${upstream}/${platform}`, private_origin: true },
          credentials: DEFAULT_CREDENTIALS[platform],
        },
      ]),
    ),
    images: { enabled: false },
    retry: { base: '1ms', ceiling: '1ms' },
    rows: { batch_age: '20ms' },
    admin: { enabled: false },
  })
  const nowMs = Date.now()
  const jobs = PLAYED.flatMap((platform) =>
    Object.entries(EDGES).map(([creator_id, { requestedAt }]) => ({
      ...{ platform, creator_id, job_type: 'full_profile_scrape', job_id: `${platform} ${creator_id}` },
      requested_at: requestedAt ?? new Date(nowMs).toISOString(),
      expires_at: new Date(nowMs + DAY_MS).toISOString(),
    })),
  )
  const refused = NEVER.map((requested_at) => ({ ...jobs[0], requested_at }))
  const daemon = await startDaemon(config, {
    log: silent,
    input: {
      stream: Readable.from([...jobs, ...refused].map((job) => Buffer.from(`${JSON.stringify(job)}\n`))),
    },
    ...{ directory: folder, uvThreads: 4 },
  })
  try {
    await daemon.ended
    const lines = readFileSync(join(folder, 'millrace.results.ndjson'), 'utf8').trimEnd().split('\n')
    const all = lines.map((line) => JSON.parse(line) as ResultMessage)
    const malformed = all.filter(({ reason }) => reason === 'malformed')
    assert.equal(malformed.length, NEVER.length)
    for (const { message } of malformed) assert.match(message ?? '', /^requested_at: .*1970/)
    const results = new Map(all.map((one) => [one.job_id, one]))
    const rows = await select<{ platform: Played; creator: string; ts: string }>(daemon.engine, STORED)
    const stored = new Map(
      rows.map(({ platform, creator, ...row }) => [`${platform} ${creator.replace(/^@/, '')}`, row]),
    )
    for (const { platform, creator_id, job_id, requested_at } of jobs) {
      const edge = EDGES[creator_id]!
      const result = results.get(job_id)
      const { status, reason, message } = result ?? assert.fail(`no result of ${job_id}`)
      if (edge.dead !== undefined) {
        const says = edge.dead instanceof RegExp ? edge.dead : edge.dead[platform]
        assert.equal(status, 'dead', job_id)
        assert.match(message ?? '', says, job_id)
        assert.equal(reason, 'bad_response', job_id)
        assert.equal(stored.get(job_id), undefined, job_id)
        continue
      }
      assert.equal(status, 'done', `${job_id}: ${message}`)
      const said = { ...USUAL, ...edge.said, ...edge.stored }
      const expected = {
        ...{ name: said.name, biography: said.biography, ts: requested_at.replace('T', ' ').slice(0, 23) },
        ...{ points: Number(said.followers), followers: Number(said.followers), likes: Number(said.likes) },
        published_at: said.publishedAt.replace('T', ' ').slice(0, 19),
      }
      const row = stored.get(job_id)
      assert.deepEqual(edge.forgotten ? { ...row, likes: expected.likes } : row, expected, job_id)
    }
    assert.equal(all.length, jobs.length + NEVER.length)
    t.diagnostic(
      `${jobs.length} jobs, ${rows.length} stored, ${jobs.length - rows.length} dead letters that say why`,
    )
  } finally {
    await daemon.stop()
  }
})
