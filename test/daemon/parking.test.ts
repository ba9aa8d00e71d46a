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

/** How long the one platform is blocked, and how long the other's rate is measured before. */
const BLOCKED_MS = Number(process.env.MILLRACE_TEST_BLOCKED_MS ?? 5_000)
/** So much longer it is blocked than is looked on: on a busy machine looking takes its time. */
const SLACK_MS = 8_000
const PLATFORMS = ['instagram', 'youtube'] as const
const RATE = 40
/** Whether there is time to compare two rates: within a few seconds a busy machine takes a third by itself. Held up it does next to nothing. */
const EXACT = BLOCKED_MS >= 60_000
/** More than the other platform can do in all that time. */
const JOBS_EACH = Math.ceil((RATE * (2.2 * BLOCKED_MS + 15_000)) / 1_000)
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
      redis: { url: redis, key_prefix: run },
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
      admin: { port: 0 },
      log: { jobs: 'none' },
    }),
  )
  const daemon = start(['run'], folder)
  const [, adminUrl = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)

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
  /** Jobs of YouTube that ended in a second, over so many ms. */
  const rateOf = async (ms: number) => {
    const [before, startedAtMs] = [await metric('jobs_finished_total', 'youtube'), performance.now()]
    await sleep(ms)
    const ended = (await metric('jobs_finished_total', 'youtube')) - before
    return ended / ((performance.now() - startedAtMs) / 1_000)
  }
  await poll(async () => ((await metric('jobs_finished_total', 'youtube')) > 3 * RATE ? true : undefined), {
    withinMs: 60_000,
    what: 'the first jobs',
  })
  const freely = await rateOf(BLOCKED_MS)

  // As any daemon would that is told so by the upstream.
  const limiter = new StackedLimiter({
    plan: {
      ...limits,
      endpoints: {},
      arrivalJitterMs: 1_000,
      grantTimeoutMs: 31_000,
    },
    redis: { url: redis, keyPrefix: run },
    metrics: createMetrics(),
    log: createLog({ level: 'silent', pretty: false, secrets: [] }),
  })
  await limiter.start()
  await limiter.learn({ platform: 'instagram' }, { blockMs: BLOCKED_MS + SLACK_MS })
  await limiter.stop()
  const blockedFrom = await metric('permits_granted_total', 'instagram')
  const beside = await rateOf(BLOCKED_MS)
  const passed = (await metric('permits_granted_total', 'instagram')) - blockedFrom

  assert.equal(passed, 0, 'permits of the blocked platform')
  assert.ok(
    beside >= (EXACT ? 0.95 * freely : 0.4 * RATE),
    `${beside.toFixed(1)} a second instead of ${freely.toFixed(1)}`,
  )

  // Both are worked off in the end, each job once.
  const doneOf = (platform: string) => metric('jobs_finished_total', platform)
  await poll(
    async () => ((await doneOf('youtube')) + (await doneOf('instagram')) >= 2 * JOBS_EACH ? true : undefined),
    { withinMs: 200_000, everyMs: 500, what: 'all jobs done' },
  )
  const parked = await metric('jobs_parked_total', 'instagram')
  assert.ok(parked > JOBS_IN_MEMORY, `${parked} were parked`)
  assert.deepEqual([await doneOf('youtube'), await doneOf('instagram')], [JOBS_EACH, JOBS_EACH])
  const oracle = (await (await fetch(`${upstream}/oracle`)).json()) as OracleReport
  assert.equal(oracle.violations, 0)
  assert.equal(oracle.arrivals, 2 * JOBS_EACH)
  assert.equal((await daemon.stop()).code, 0)
  t.diagnostic(
    `blocked for ${BLOCKED_MS / 1_000} s: the other platform ${beside.toFixed(1)} jobs/s, ${((100 * beside) / freely).toFixed(1)}% of ` +
      `${freely.toFixed(1)}; ${parked} of ${JOBS_EACH} jobs were parked, with ${JOBS_IN_MEMORY} in memory`,
  )
})
