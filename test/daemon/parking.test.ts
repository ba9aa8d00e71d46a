import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS } from '../../src/simulator/options.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { publish } from './kafka-topics.ts'
import { Millrace } from './process.ts'
import { realKafka } from './real-configuration.ts'

/** For so long the other platform's rate is measured, of use from a minute on; without, it has to end its jobs however long that takes. */
const MEASURED_MS = Number(process.env.MILLRACE_TEST_BLOCKED_MS ?? 0)
/** Renewed again and again until the other platform is done; a daemon that was told so asks no earlier. */
const BLOCK_MS = 20_000
const RENEWED_EVERY_MS = 2_000
const PLATFORMS = ['instagram', 'youtube'] as const
const RATE = 40
/** More than are done while that is measured. */
const JOBS_EACH = RATE * Math.ceil(12 + (1.1 * MEASURED_MS) / 1_000)
/** Far fewer than come of the blocked one: without parking the topic would stand still. */
const JOBS_IN_MEMORY = 300
const SEED = 3

test('a platform that is blocked holds up no other on the same partitions, and its own jobs are done afterwards', {
  timeout: 500_000,
}, async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || kcat === null) return
  const run = `parking${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-parking-'))
  const millraces: Millrace[] = []
  t.after(async () => {
    await Promise.all(millraces.map((one) => one.kill()))
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  const start = (args: string[], cwd?: string) => {
    const one = new Millrace(args, cwd === undefined ? {} : { cwd })
    millraces.push(one)
    return one
  }

  const bucket = { rate: RATE, burst: 60 }
  const window = { limit: 400, windowMs: 4_000 }
  const limits = {
    global: { rate: 200, burst: 300 },
    platforms: { instagram: bucket, youtube: bucket },
    endpoints: {},
    defaultEndpoint: window,
  }
  const simulator = start([
    ...['simulate', '--port', '0', '--seed', String(SEED), '--limits'],
    JSON.stringify(limits),
  ])
  const [upstream = ''] = await simulator.says(/http:\/\/[\d.:]+/)
  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({
      data: join(folder, 'data'),
      kafka: { ...realKafka(run, broker), partitions: 3, session_timeout: '30s' },
      redis: { url: redis, key_prefix: run, command_timeout: '10s' },
      limits: {
        global: limits.global,
        platforms: limits.platforms,
        default_endpoint: { limit: window.limit, window: `${window.windowMs}ms` },
        endpoints: {
          youtube: { channel: { limit: window.limit, window: `${window.windowMs}ms` } },
          instagram: { user_profile: { limit: window.limit, window: `${window.windowMs}ms` } },
        },
        quotas: { tiktok: false, youtube: false },
        latency: '100ms',
        cold_start: 'full',
      },
      intake: { jobs_max: JOBS_IN_MEMORY },
      platforms: {
        ...Object.fromEntries(
          PLATFORMS.map((platform) => [
            platform,
            {
              origin: `${upstream}/${platform}`,
              private_origin: true,
              credentials: DEFAULT_CREDENTIALS[platform],
            },
          ]),
        ),
        tiktok: { enabled: false },
      },
      images: { enabled: false },
      // An upstream that stands still for a while answers all the same: each job is one call.
      fetch: { read_timeout: '25s' },
      admin: { port: 0 },
      log: { jobs: 'none' },
    }),
  )
  const daemon = start(['run'], folder)
  const [, adminUrl = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)

  // As any daemon would that is told so by the upstream.
  const limiter = new StackedLimiter({
    plan: {
      ...limits,
      endpoints: {},
      arrivalJitterMs: 1_000,
      grantTimeoutMs: 31_000,
    },
    coldStart: 'full',
    redis: { url: redis, keyPrefix: run, commandTimeoutMs: 30_000, startTimeoutMs: 60_000 },
    metrics: createMetrics(),
    log: createLog({ level: 'silent', pretty: false, secrets: [] }),
  })
  t.after(() => limiter.stop())
  await limiter.start()
  const block = () => limiter.learn({ platform: 'instagram' }, { blockMs: BLOCK_MS })
  await block()
  // One that is lost does no harm: the next comes before the block ends.
  const renewing = setInterval(() => void block().catch(() => undefined), RENEWED_EVERY_MS)
  t.after(() => clearInterval(renewing))

  const creators = new Map(
    PLATFORMS.map((platform) => [
      platform,
      creatorIds(platform, SEED, JOBS_EACH, { handles: true, creators: 10_000 }),
    ]),
  )
  const jobs = Array.from({ length: 2 * JOBS_EACH }, (_, index) => {
    const platform = PLATFORMS[index % 2]!
    const creator_id = creators.get(platform)![Math.floor(index / 2)]!
    return {
      key: `${platform}:${creator_id}`,
      value: JSON.stringify({ platform, creator_id, job_type: 'profile', job_id: `${run}-${index}` }),
    }
  })
  await publish(kcat, broker, `${run}.jobs`, jobs)

  const metric = async (name: string, platform: string) => {
    const text = await (await fetch(`${adminUrl}/metrics`)).text()
    let sum = 0
    for (const line of text.split('\n')) {
      if (line.startsWith(`millrace_${name}{`) && line.includes(`platform="${platform}"`))
        sum += Number(line.slice(line.lastIndexOf(' ') + 1))
    }
    return sum
  }
  const permits = (platform: string) => metric('permits_granted_total', platform)
  const doneOf = (platform: string) => metric('jobs_finished_total', platform)
  const done = (platform: string, count: number) =>
    poll(async () => ((await doneOf(platform)) >= count ? true : undefined), {
      withinMs: 200_000 + 2 * MEASURED_MS,
      everyMs: 500,
      what: `${count} jobs of ${platform}`,
    })

  // What may burst is spent.
  await done('youtube', 2 * RATE)
  const [before, startedAtMs] = [await doneOf('youtube'), performance.now()]
  await sleep(MEASURED_MS)
  const rate = ((await doneOf('youtube')) - before) / ((performance.now() - startedAtMs) / 1_000)
  if (MEASURED_MS > 0) {
    t.diagnostic(`beside the blocked platform ${rate.toFixed(1)} jobs a second of ${RATE}`)
    assert.ok(rate >= 0.95 * RATE)
  }
  await done('youtube', JOBS_EACH)
  assert.deepEqual([await permits('instagram'), await doneOf('instagram')], [0, 0])

  // Its own are done in the end, and each job once.
  clearInterval(renewing)
  await done('instagram', JOBS_EACH)
  const parked = await metric('jobs_parked_total', 'instagram')
  assert.ok(parked > (JOBS_EACH - JOBS_IN_MEMORY) / 2, `${parked} were parked`)
  assert.deepEqual([await doneOf('youtube'), await doneOf('instagram')], [JOBS_EACH, JOBS_EACH])
  const oracle = (await (await fetch(`${upstream}/oracle`)).json()) as OracleReport
  assert.equal(oracle.violations, 0)
  assert.equal(oracle.arrivals, 2 * JOBS_EACH)
  assert.equal((await daemon.stop()).code, 0)
  t.diagnostic(`${parked} of ${JOBS_EACH} jobs were parked, with ${JOBS_IN_MEMORY} in memory`)
})
