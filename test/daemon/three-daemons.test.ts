import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { credentialsOf } from '../../src/simulator/accounts.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, PLAYED } from '../../src/simulator/options.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { Millrace } from './process.ts'

const SEED = 5
const DAEMONS = 3
const JOBS_EACH = 6_000
/** Short, so that many fit into a test: a slot is taken for the window and about 130 ms, so 97% of it is what can be used. */
const WINDOW_MS = Number(process.env.MILLRACE_TEST_WINDOW_MS ?? 4_000)
/** Whether figures are exact: over long windows only. */
const EXACT = process.env.MILLRACE_TEST_WINDOW_MS !== undefined
/** Windows that are measured, after what the start may burst is spent. */
const WINDOWS = EXACT ? 11 : 4

/** On Instagram a window decides, on YouTube the platform's bucket, on TikTok both are close. */
const LIMITS = {
  global: { rate: 60, burst: 100 },
  platforms: {
    instagram: { rate: 40, burst: 60 },
    youtube: { rate: 9, burst: 20 },
    tiktok: { rate: 8, burst: 20 },
  },
  endpoints: {
    instagram: { user_profile: { limit: WINDOW_MS / 100, windowMs: WINDOW_MS } },
    youtube: { channel: { limit: WINDOW_MS / 50, windowMs: WINDOW_MS } },
    tiktok: { user_info: { limit: (WINDOW_MS * 3) / 400, windowMs: WINDOW_MS } },
  },
  defaultEndpoint: { limit: 60, windowMs: WINDOW_MS },
}
/**
 * What each must be used to, and the least share of the permits that a daemon has of an even one: over long windows. Over those of
 * the suite a busy machine takes what it likes, so there all are used and everybody has some; the virtual fleet has the figures.
 */
const USED = new Map([
  ['endpoint:instagram/user_profile', EXACT ? 0.9 : 0],
  ['platform:youtube', EXACT ? 0.97 : 0],
  ['endpoint:tiktok/user_info', EXACT ? 0.9 : 0],
])
const SHARE_MIN = EXACT ? 0.8 : 0

function jobsOf(daemon: number): string {
  const creators = new Map(
    PLAYED.map((platform) => [
      platform,
      creatorIds(platform, SEED, JOBS_EACH, { handles: true, creators: 10_000 }),
    ]),
  )
  return Array.from({ length: JOBS_EACH }, (_, index) => {
    const platform = PLAYED[index % PLAYED.length]!
    const creator_id = creators.get(platform)![index]!
    return `${JSON.stringify({ platform, creator_id, job_type: 'profile', job_id: `${daemon}-${index}` })}\n`
  }).join('')
}

function configuration(upstream: string, redis: string, keyPrefix: string): string {
  const window = ({ limit, windowMs }: { limit: number; windowMs: number }) => ({
    limit,
    window: `${windowMs}ms`,
  })
  const endpoints = Object.entries(LIMITS.endpoints).map(([platform, windows]) => [
    platform,
    Object.fromEntries(Object.entries(windows).map(([name, one]) => [name, window(one)])),
  ])
  return JSON.stringify({
    // After it a daemon takes the claim of a token for had.
    redis: { url: redis, key_prefix: keyPrefix, command_timeout: '30s' },
    limits: {
      global: LIMITS.global,
      platforms: LIMITS.platforms,
      endpoints: Object.fromEntries(endpoints),
      default_endpoint: window(LIMITS.defaultEndpoint),
      quotas: { youtube: false, tiktok: false },
      jitter: '1s',
      latency: '100ms',
      cold_start: 'full',
    },
    // A token that is asked for twice counts twice.
    fetch: { timeout: '20s', read_timeout: '20s' },
    platforms: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        {
          origin: `${upstream}/${platform}`,
          private_origin: true,
          credentials: platform === 'tiktok' ? TIKTOK_ACCOUNTS : DEFAULT_CREDENTIALS[platform],
        },
      ]),
    ),
    images: { enabled: false },
    admin: { port: 0 },
    log: { jobs: 'none' },
  })
}

/** Two accounts of one platform, each with tokens of its own. */
const TIKTOK_ACCOUNTS = {
  first: DEFAULT_CREDENTIALS.tiktok,
  second: credentialsOf(DEFAULT_CREDENTIALS, 2).tiktok,
}

interface Running {
  readonly daemon: Millrace
  readonly adminUrl: string
}

async function start(children: Millrace[], folder: string, name: number, config: string): Promise<Running> {
  const own = join(folder, String(name))
  mkdirSync(own)
  writeFileSync(join(own, 'millrace.yaml'), config)
  writeFileSync(join(own, 'jobs.ndjson'), jobsOf(name))
  const daemon = new Millrace(['run', '--input', 'jobs.ndjson'], { cwd: own })
  children.push(daemon)
  const [, adminUrl = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)
  return { daemon, adminUrl }
}

/** The sum of a counter's values in an exposition. */
function sumOf(metrics: string, name: string): number {
  return [...metrics.matchAll(new RegExp(`^millrace_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce(
    (sum, [, value]) => sum + Number(value),
    0,
  )
}

test('three daemons that share Redis use every limit and exceed none, also when one is killed with permits in hand', {
  timeout: 600_000,
}, async (t) => {
  const redis = need(t, 'redis')
  if (redis === null) return
  const folder = mkdtempSync(join(tmpdir(), 'millrace-three-'))
  const children: Millrace[] = []
  t.after(async () => {
    await Promise.all(children.map((child) => child.kill()))
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  const endpoints = Object.entries(LIMITS.endpoints).flatMap(([platform, windows]) =>
    Object.entries(windows).map(([name, window]) => [`${platform}/${name}`, window]),
  )
  const simulator = new Millrace([
    ...[
      'simulate',
      '--accounts',
      '2',
      '--port',
      '0',
      '--seed',
      String(SEED),
      '--creators',
      '10000',
      '--latency',
      '30ms',
    ],
    ...['--limits', JSON.stringify({ ...LIMITS, endpoints: Object.fromEntries(endpoints) })],
  ])
  children.push(simulator)
  const [upstream = ''] = await simulator.says(/http:\/\/[\d.:]+/)
  const oracle = async () => (await (await fetch(`${upstream}/oracle`)).json()) as OracleReport
  /** What the upstream saw over so many windows: how much of each level was used from one moment to the other. */
  const windows = async (count: number) => {
    const first = await oracle()
    const fromMs = performance.now()
    for (;;) {
      const last = await oracle()
      const spanMs = performance.now() - fromMs
      if (last.firstArrivalMs === null || spanMs < count * WINDOW_MS) {
        await sleep(100)
        continue
      }
      const used = last.levels.map(({ level, admitted, rate }, i) => {
        const before = first.levels[i]?.level === level ? first.levels[i].admitted : 0
        return [level, (admitted - before) / ((rate * spanMs) / 1000)] as const
      })
      return { ...last, used: new Map(used) }
    }
  }
  const afresh = () => fetch(`${upstream}/oracle/reset`, { method: 'POST' })

  const config = configuration(upstream, redis, `three-${Date.now().toString(36)}`)
  const fleet = await Promise.all(
    Array.from({ length: DAEMONS }, (_, name) => start(children, folder, name, config)),
  )
  // What may burst at the start is spent within two windows.
  let opening = await windows(2)
  await until(async () => {
    opening = { ...opening, ...(await oracle()) }
    return ['tiktok/1', 'tiktok/2'].every((account) => (opening.byAccount[account] ?? 0) > 0)
  }, 'both accounts are in use')
  // One daemon fetched the tokens for all three.
  assert.equal(opening.byEndpoint['tiktok/token'], 2)
  await afresh()
  const exposition = async ({ adminUrl }: Running) => await (await fetch(`${adminUrl}/metrics`)).text()
  const before = await Promise.all(fleet.map(exposition))
  const steady = await windows(WINDOWS)
  const after = await Promise.all(fleet.map(exposition))

  const grown = (name: string) => after.map((text, i) => sumOf(text, name) - sumOf(before[i]!, name))
  const permits = grown('permits_granted_total')
  const calls = grown('limiter_calls_total').reduce((sum, one) => sum + one, 0)
  t.diagnostic(
    `${steady.arrivals} calls upstream in ${WINDOWS} windows; permits of each daemon ${permits.join(', ')}; ` +
      `${(calls / permits.reduce((sum, one) => sum + one, 0)).toFixed(2)} calls to Redis for a permit`,
  )
  for (const { level, maxInWindow, capacity } of steady.levels) {
    const used = steady.used.get(level) ?? 0
    if (used < 0.5) continue
    t.diagnostic(`${level} ${(used * 100).toFixed(1)}%, at most ${maxInWindow ?? '-'} of ${capacity}`)
  }
  assert.equal(opening.violations + steady.violations, 0)
  for (const [level, least] of USED) {
    const used = steady.used.get(level) ?? 0
    assert.ok(used > least, `${level} is used to ${used}`)
  }
  for (const share of permits)
    assert.ok(share > (SHARE_MIN * permits.reduce((sum, one) => sum + one, 0)) / DAEMONS)

  // One dies with permits in hand and requests under way, another takes its place; the script is lost again and again.
  await fleet[0]!.daemon.kill()
  const admin = new Redis(redis)
  t.after(() => admin.disconnect())
  const late = start(children, folder, DAEMONS, config)
  for (let i = 0; i < 20; i++) await admin.script('FLUSH')
  await late
  await afresh()
  const trouble = await windows(4)
  assert.equal(trouble.violations, 0)
  assert.ok(trouble.arrivals > 0)
})
