import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createClient } from '@clickhouse/client'
import sharp from 'sharp'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { creatorIds, type Fate } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, PLAYED } from '../../src/simulator/options.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { need } from '../need.ts'
import { Millrace } from './process.ts'

const JOBS = 2000
const SEED = 11
/** Some of each kind among the jobs; each must end as it should. */
const MALFORMED_EVERY = 50
const MISSING_EVERY = 40
const PICTURES_EVERY = 25

/** Wide enough to be done in half a minute, narrow enough to be what decides it. */
const LIMITS = {
  global: { rate: 110, burst: 150 },
  platforms: Object.fromEntries(PLAYED.map((platform) => [platform, { rate: 40, burst: 60 }])),
  windowMs: 2_000,
  windowLimit: 76,
}

interface Sent {
  readonly key: string
  readonly value: string
  readonly expected: 'done' | 'malformed' | 'not_found'
  readonly id: string | null
  readonly platform: string
  readonly creator: string
}

function jobs(run: string): Sent[] {
  const of = (platform: (typeof PLAYED)[number], fate: Fate, count: number) =>
    creatorIds(platform, SEED, count, { fate, creators: 10_000 })
  const known = new Map(PLAYED.map((platform) => [platform, of(platform, 'public', JOBS)]))
  const missing = new Map(PLAYED.map((platform) => [platform, of(platform, 'missing', JOBS / MISSING_EVERY)]))
  return Array.from({ length: JOBS }, (_, index) => {
    const platform = PLAYED[index % PLAYED.length]!
    const id = `${run}-${index}`
    const isMissing = index % MISSING_EVERY === 7
    const creator = isMissing
      ? missing.get(platform)![Math.floor(index / MISSING_EVERY)]!
      : known.get(platform)![index]!
    const value = JSON.stringify({
      platform,
      creator_id: creator,
      job_type: index % PICTURES_EVERY === 3 ? 'full_profile_scrape' : 'profile',
      priority: 1 + (index % 10),
      job_id: id,
      params: index % PICTURES_EVERY === 3 ? { pictures_max: 1 } : {},
    })
    const key = `${platform}:${creator}`
    if (index % MALFORMED_EVERY === 1) {
      return { key, value: value.slice(0, -2), expected: 'malformed', id: null, platform, creator }
    }
    return { key, value, expected: isMissing ? 'not_found' : 'done', id, platform, creator }
  })
}

/** Publishes with kcat, a producer that is not ours: keys, headers, lz4. */
async function publish(kcat: string, broker: string, topic: string, sent: readonly Sent[]): Promise<void> {
  const args = ['-P', '-b', broker, '-t', topic, '-K', '\t', '-H', 'campaign=spring', '-z', 'lz4']
  const child = spawn(kcat, args, { stdio: ['pipe', 'inherit', 'inherit'] })
  child.stdin.end(sent.map(({ key, value }) => `${key}\t${value}\n`).join(''))
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
}

interface Read {
  readonly payload: string
  readonly headers: Record<string, string>
}

/** Everything in a topic so far, read by kcat. */
async function readTopic(kcat: string, broker: string, topic: string): Promise<Read[]> {
  const child = spawn(kcat, ['-C', '-b', broker, '-t', topic, '-o', 'beginning', '-e', '-q', '-J'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  await once(child, 'close')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { payload, headers = [] } = JSON.parse(line) as { payload: string; headers?: string[] }
      const pairs = Array.from({ length: headers.length / 2 }, (_, i) => [headers[2 * i], headers[2 * i + 1]])
      return { payload, headers: Object.fromEntries(pairs) as Record<string, string> }
    })
}

async function until<T>(what: string, timeoutMs: number, look: () => Promise<T | null>): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const found = await look()
    if (found !== null) return found
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

async function finishedBy(adminUrl: string): Promise<number> {
  const status = (await (await fetch(`${adminUrl}/status`)).json()) as {
    jobs: { finished: { done: number; skipped: number; dead: number } }
  }
  const { done, skipped, dead } = status.jobs.finished
  return done + skipped + dead
}

async function start(t: TestContext, folder: string): Promise<{ daemon: Millrace; adminUrl: string }> {
  const daemon = new Millrace(['run'], { cwd: folder })
  t.after(() => daemon.kill())
  const [, adminUrl = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)
  await until('readiness', 30_000, async () => ((await fetch(`${adminUrl}/readyz`)).ok ? true : null))
  return { daemon, adminUrl }
}

test('two daemons on real Kafka, Redis, ClickHouse and S3 end every job once, also when one is killed in the middle', {
  timeout: 240_000,
}, async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  const s3 = need(t, 's3')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || clickhouse === null || s3 === null || kcat === null) return

  const run = `real${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-real-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))

  // The upstream, in a process of its own, enforcing what the daemons have to keep.
  const endpoints = [
    'instagram/user_profile',
    'instagram/user_media',
    'youtube/channel',
    'youtube/videos',
    'tiktok/user_info',
  ]
  const window = { limit: LIMITS.windowLimit, windowMs: LIMITS.windowMs }
  const simulator = new Millrace([
    ...['simulate', '--port', '0', '--seed', String(SEED), '--creators', '10000', '--error-rate', '0.01'],
    '--limits',
    JSON.stringify({
      global: LIMITS.global,
      platforms: LIMITS.platforms,
      endpoints: Object.fromEntries(endpoints.map((endpoint) => [endpoint, window])),
      defaultEndpoint: window,
    }),
  ])
  t.after(() => simulator.kill())
  const [upstream = ''] = await simulator.says(/http:\/\/[\d.:]+/)

  const address = new URL(s3)
  const bucket = run
  const objects = new S3Client({
    endpoint: address.origin,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: address.username, secretAccessKey: address.password },
  })
  t.after(() => objects.destroy())
  await objects.send(new CreateBucketCommand({ Bucket: bucket }))
  const database = createClient({ url: clickhouse, database: 'default' })
  t.after(async () => {
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
  })

  const configured = { limit: window.limit, window: `${window.windowMs}ms` }
  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({
      data: join(folder, 'data'),
      kafka: {
        brokers: [broker],
        group: run,
        topics: [`${run}.jobs`],
        results_topic: `${run}.results`,
        dead_topic: `${run}.dead`,
        retry_topic_prefix: `${run}.retry.`,
        create_topics: true,
        partitions: 6,
        session_timeout: '6s',
        heartbeat_interval: '500ms',
        rebalance_timeout: '10s',
      },
      redis: { url: redis, key_prefix: run },
      clickhouse: { url: clickhouse, database: run },
      store: {
        kind: 's3',
        bucket,
        endpoint: address.origin,
        access_key_id: address.username,
        secret_access_key: address.password,
      },
      limits: {
        global: LIMITS.global,
        platforms: LIMITS.platforms,
        endpoints: Object.fromEntries(
          PLAYED.map((platform) => [
            platform,
            Object.fromEntries(
              endpoints
                .filter((one) => one.startsWith(`${platform}/`))
                .map((one) => [one.split('/')[1], configured]),
            ),
          ]),
        ),
        default_endpoint: configured,
        jitter: '1s',
        latency: '100ms',
        quotas: { tiktok: false, youtube: false },
        cold_start: 'full',
      },
      fetch: { timeout: '5s', read_timeout: '5s' },
      retry: { delays: ['1s', '5s'], base: '200ms' },
      platforms: Object.fromEntries(
        PLAYED.map((platform) => [
          platform,
          {
            origin: `${upstream}/${platform}`,
            private_origin: true,
            credentials: DEFAULT_CREDENTIALS[platform],
          },
        ]),
      ),
      images: { private_hosts: [new URL(upstream).host] },
      admin: { port: 0 },
      log: { jobs: 'none' },
    }),
  )
  const [first, second] = await Promise.all([start(t, folder), start(t, folder)])

  const sent = jobs(run)
  const startedAtMs = Date.now()
  await publish(kcat, broker, `${run}.jobs`, sent)

  // In the middle of it, one of them dies without a word.
  await until('a quarter of the jobs', 90_000, async () =>
    (await finishedBy(first.adminUrl)) + (await finishedBy(second.adminUrl)) >= JOBS / 4 ? true : null,
  )
  await first.daemon.kill()

  const results = await until('every job’s result', 150_000, async () => {
    const read = await readTopic(kcat, broker, `${run}.results`)
    const all = read.map(({ payload }) => JSON.parse(payload) as ResultMessage)
    return new Set(all.map(({ job_id }) => job_id)).size >= JOBS ? all : null
  })
  const tookS = (Date.now() - startedAtMs) / 1000

  // Every job has one outcome, the one it should have; a repetition says the same.
  const byId = new Map<string, ResultMessage>()
  for (const result of results) {
    const known = byId.get(result.job_id)
    if (known !== undefined) assert.equal(result.status, known.status, result.job_id)
    byId.set(result.job_id, result)
  }
  assert.equal(byId.size, JOBS)
  const books = { done: 0, dead: 0, malformed: 0, not_found: 0 }
  for (const { id, expected } of sent) {
    if (id === null) continue
    const result = byId.get(id)
    assert.equal(
      result?.status,
      expected === 'done' ? 'done' : 'dead',
      `${id}: ${result?.reason} ${result?.message}`,
    )
    if (expected === 'not_found') assert.equal(result?.reason, 'not_found')
  }
  for (const { status, reason } of byId.values()) {
    if (status === 'done') books.done++
    else books.dead++
    if (reason === 'malformed') books.malformed++
    if (reason === 'not_found') books.not_found++
  }
  assert.equal(books.malformed, sent.filter(({ expected }) => expected === 'malformed').length)
  assert.equal(books.not_found, sent.filter(({ expected }) => expected === 'not_found').length)

  // Dead letters hold the producer's bytes and headers.
  const dead = await readTopic(kcat, broker, `${run}.dead`)
  const malformed = new Set(sent.filter(({ expected }) => expected === 'malformed').map(({ value }) => value))
  const letters = dead.filter(({ headers }) => headers['millrace-reason'] === 'malformed')
  assert.deepEqual(new Set(letters.map(({ payload }) => payload)), malformed)
  for (const { headers } of dead) {
    assert.equal(headers.campaign, 'spring')
    assert.equal(headers['millrace-original-topic'], `${run}.jobs`)
  }

  // Rows, de-duplicated: one follower count and one outcome for each job, no more.
  const count = async (query: string) => {
    const rows = await (await database.query({ query, format: 'JSONEachRow' })).json<{ n: string | number }>()
    return Number(rows[0]?.n)
  }
  const followed = sent.filter(({ expected }) => expected === 'done')
  const hidden = [...byId.values()].filter(
    ({ status, data }) => status === 'done' && (data as { followers?: number | null }).followers == null,
  ).length
  assert.equal(
    await count(`SELECT count() AS n FROM ${run}.points FINAL WHERE metric = 'followers'`),
    followed.length - hidden,
  )
  assert.equal(await count(`SELECT count() AS n FROM ${run}.jobs FINAL`), JOBS - books.malformed)
  assert.equal(await count(`SELECT count() AS n FROM ${run}.creators FINAL WHERE gone`), books.not_found)

  // Pictures open, in the sizes that were asked for.
  const keys = [...byId.values()].flatMap(({ pictures }) => pictures)
  assert.ok(keys.length > 0)
  assert.equal(await count(`SELECT uniqExact(key) AS n FROM ${run}.pictures FINAL`), new Set(keys).size)
  for (const key of keys.filter((_, i) => i % 10 === 0)) {
    const { Body } = await objects.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
    const picture = await sharp(await Body!.transformToByteArray()).metadata()
    assert.equal(picture.format, 'jpeg')
    assert.ok(Math.max(picture.width, picture.height) === (key.includes('thumb') ? 150 : 800), key)
  }

  // And the upstream has not been asked once more than it allows.
  const oracle = (await (await fetch(`${upstream}/oracle`)).json()) as OracleReport
  const metrics = await (await fetch(`${second.adminUrl}/metrics`)).text()
  const rebalances = /^millrace_kafka_rebalances_total (\d+)/m.exec(metrics)?.[1]
  const broken = JSON.stringify(oracle.levels.filter(({ violations }) => violations > 0))
  assert.equal(oracle.violations, 0, `after ${rebalances} rebalances: ${broken}`)

  const ended = await second.daemon.stop()
  assert.equal(ended.code, 0, ended.stderr.slice(-2000))
  t.diagnostic(
    `${JOBS} jobs in ${tookS.toFixed(1)} s: ${books.done} done, ${books.dead} dead ` +
      `(${books.malformed} malformed, ${books.not_found} not found); ${results.length - JOBS} results repeated, ${rebalances} rebalances; ` +
      `${new Set(keys).size} pictures; ${oracle.arrivals} calls upstream, ${oracle.violations} violations`,
  )
})
