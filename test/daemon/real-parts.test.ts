import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createClient } from '@clickhouse/client'
import sharp from 'sharp'
import type { ResultMessage } from '../../src/job/outcome.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { need } from '../need.ts'
import { publish, readTopic } from './kafka-topics.ts'
import { Millrace } from './process.ts'
import { type RealLimits, realConfiguration, simulatorArgs } from './real-configuration.ts'
import { realJobs } from './real-jobs.ts'

const JOBS = 2000
const SEED = 11
const CREATORS = 10_000

/** Wide enough to be done in half a minute, narrow enough to be what decides it. */
const LIMITS: RealLimits = {
  global: { rate: 110, burst: 150 },
  platform: { rate: 40, burst: 60 },
  windowMs: 2_000,
  windowLimit: 76,
}

async function until<T>(what: string, timeoutMs: number, look: () => Promise<T | null>): Promise<T> {
  const end = Date.now() + timeoutMs
  for (;;) {
    // A daemon that is asked too much at a time says 500.
    const found = await look().catch(() => null)
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
  await until('readiness', 60_000, async () => ((await fetch(`${adminUrl}/readyz`)).ok ? true : null))
  return { daemon, adminUrl }
}

test('two daemons on real Kafka, Redis, ClickHouse and S3 end every job once, also when one is killed in the middle', {
  timeout: 500_000,
}, async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  const s3 = need(t, 's3')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || clickhouse === null || s3 === null || kcat === null) return

  const run = `real${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-real-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))

  // The upstream, in a process of its own, enforcing what the daemons have to keep.
  const simulator = new Millrace(simulatorArgs(LIMITS, { seed: SEED, creators: CREATORS, errorRate: 0.01 }))
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

  const addresses = { run, broker, redis, clickhouse, s3, upstream }
  writeFileSync(join(folder, 'millrace.yaml'), realConfiguration(addresses, LIMITS, 'full'))
  const [first, second] = await Promise.all([start(t, folder), start(t, folder)])

  // Some of each kind among the jobs; each must end as it should.
  const every = { malformedEvery: 50, missingEvery: 40, picturesEvery: 25 }
  const sent = realJobs({ run, jobs: JOBS, seed: SEED, creators: CREATORS, ...every })
  const startedAtMs = Date.now()
  await publish(kcat, broker, `${run}.jobs`, sent)

  // In the middle of it, one of them dies without a word.
  await until('a quarter of the jobs', 200_000, async () =>
    (await finishedBy(first.adminUrl)) + (await finishedBy(second.adminUrl)) >= JOBS / 4 ? true : null,
  )
  await first.daemon.kill()

  const results = await until('every job’s result', 400_000, async () => {
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
