import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createClient } from '@clickhouse/client'
import type { ConfigInput } from '../../src/config/schema.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS, PLAYED, type Played } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { publish } from '../daemon/kafka-topics.ts'
import { Millrace } from '../daemon/process.ts'
import { realKafka } from '../daemon/real-configuration.ts'
import { RedisProxy } from '../limiter/redis-proxy.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { SwitchedUpstream } from './switched-upstream.ts'

const SEED = 7
const CREATORS = 2_000

export interface Wish {
  readonly platform: Played
  readonly type?: 'profile' | 'full_profile_scrape'
  readonly count: number
  /** Unix ms. Default: none is said, so that it is now. */
  readonly requestedAtMs?: number
  /** Begin with this creator. Default 0. */
  readonly from?: number
}

/** A daemon on real Kafka, Redis and ClickHouse, before a simulator with moods; each way to a service can be cut. */
export interface Scene {
  /** The same from one start of the daemon to the next. */
  readonly adminUrl: string
  readonly upstream: SwitchedUpstream
  readonly redis: RedisProxy
  readonly clickhouse: RedisProxy
  /** Of the daemon's own database. */
  readonly database: { readonly url: string; readonly name: string }
  publish(wishes: readonly Wish[]): Promise<void>
  /** Reads through the analytics API of the daemon, once by each route. */
  read(): Promise<void>
  start(sections?: Partial<ConfigInput>): Promise<void>
  stop(): Promise<void>
}

/** Null when a service is not there: the test is skipped then, or fails. */
export async function openScene(t: TestContext): Promise<Scene | null> {
  const broker = need(t, 'kafka')
  const redisUrl = need(t, 'redis')
  const clickhouseUrl = need(t, 'clickhouse')
  const kcat = need(t, 'kcat')
  if (broker === null || redisUrl === null || clickhouseUrl === null || kcat === null) return null

  const run = `scene${process.pid}${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-scene-'))
  // First of all: what it writes into and talks to is taken away after it.
  let daemon: Millrace | undefined
  t.after(() => daemon?.kill())
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const simulator = createSimulator({
    ...{ seed: SEED, creators: CREATORS, latencyMs: 5, jitterMs: 5, limits: OPEN_LIMITS },
  })
  const { port } = await simulator.start()
  t.after(() => simulator.stop())
  const upstream = new SwitchedUpstream(`http://127.0.0.1:${port}`)
  await upstream.open()
  t.after(() => upstream.close())
  const redis = new RedisProxy(redisUrl)
  const clickhouse = new RedisProxy(clickhouseUrl)
  const admin = new RedisProxy('http://127.0.0.1:9')
  const ways = [redis, clickhouse, admin]
  await Promise.all(ways.map((way) => way.open()))
  t.after(() => Promise.all(ways.map((way) => way.cut())))
  const over = (way: RedisProxy) => way.url.replace('redis:', 'http:')
  const database = createClient({ url: clickhouseUrl })
  t.after(async () => {
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
  })

  const configuration: ConfigInput = {
    data: './data',
    // Longer than a machine stands still; short enough for a daemon that waits for the partitions of the killed one.
    kafka: { ...realKafka(run, broker), partitions: 2, session_timeout: '20s' },
    redis: { url: redis.url, key_prefix: run, command_timeout: '30s' },
    clickhouse: { url: over(clickhouse), database: run },
    store: { kind: 'folder', path: './store' },
    limits: {
      ...{ global: { rate: 200, burst: 400 }, cold_start: 'full', latency: '50ms' },
      platforms: {
        instagram: { rate: 60, burst: 120 },
        youtube: { rate: 60, burst: 120 },
        tiktok: { rate: 60, burst: 120 },
      },
      default_endpoint: { limit: 1_000, window: '10s' },
      endpoints: Object.fromEntries(
        Object.entries({
          instagram: ['user_profile', 'user_media', 'media_details'],
          youtube: ['channel', 'videos'],
          tiktok: ['user_info'],
        }).map(([platform, names]) => [
          platform,
          Object.fromEntries(names.map((name) => [name, { limit: 1_000, window: '10s' }])),
        ]),
      ),
      // It begins anew hours from now, whenever the test runs.
      quotas: {
        youtube: { limit: 100_000, time_zone: new Date().getUTCHours() < 20 ? 'UTC' : 'Asia/Tokyo' },
        tiktok: false,
      },
    },
    fetch: { timeout: '30s', read_timeout: '30s' },
    // Dead letters flow for longer than Prometheus may stand still, until the platform is paused.
    retry: { delays: ['1s', '5s'], base: '200ms', dead_share: 0.9, dead_sample: 200 },
    platforms: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        {
          origin: `${upstream.url}/${platform}`,
          private_origin: true,
          credentials: { ...DEFAULT_CREDENTIALS[platform] },
        },
      ]),
    ),
    images: { private_hosts: [`127.0.0.1:${port}`], threads: 1 },
    rows: { batch_age: '200ms' },
    admin: { port: 0 },
    api: { enabled: true, port: 0 },
    log: { jobs: 'none' },
  }
  let published = 0
  let apiUrl = ''
  let asked = 0
  const known = new Map(
    PLAYED.map((platform) => [
      platform,
      creatorIds(platform, SEED, CREATORS / 2, { fate: 'public', handles: true, creators: CREATORS }),
    ]),
  )
  return {
    ...{ adminUrl: over(admin), upstream, redis, clickhouse, database: { url: clickhouseUrl, name: run } },
    async publish(wishes) {
      const records = wishes.flatMap(({ platform, type = 'profile', count, requestedAtMs, from = 0 }) =>
        Array.from({ length: count }, (_, index) => {
          const creator_id = known.get(platform)![(from + index) % known.get(platform)!.length]!
          const value = {
            ...{ platform, creator_id, job_type: type, job_id: `${run}-${published++}` },
            ...(requestedAtMs !== undefined && {
              requested_at: new Date(requestedAtMs).toISOString(),
              expires_at: new Date(Date.now() + 86_400_000).toISOString(),
            }),
            ...(type === 'full_profile_scrape' && { params: { pictures_max: 2 } }),
          }
          return { key: `${platform}:${creator_id}`, value: JSON.stringify(value) }
        }),
      )
      await publish(kcat, broker, `${run}.jobs`, records)
    },
    async read() {
      const [creator] = known.get('youtube')!
      // A page of another length each time: not all of them are kept answers.
      const paths = [
        'creators?limit=20',
        `creators?limit=${1 + (asked++ % 100)}`,
        `creators/youtube/${creator}`,
        'dashboard',
        'trending',
      ]
      for (const path of paths) {
        const reply = await fetch(`${apiUrl}/v1/${path}`)
        await reply.arrayBuffer()
      }
    },
    async start(sections = {}) {
      writeFileSync(join(folder, 'millrace.yaml'), JSON.stringify({ ...configuration, ...sections }))
      daemon = new Millrace(['run'], { cwd: folder })
      const [, address = ''] = await daemon.says(/"admin":"(http:[^"]+)","msg":"millrace is running"/)
      admin.lead(address)
      const [, listens = ''] = await daemon.says(/"url":"(http:[^"]+)","msg":"the analytics API listens"/)
      apiUrl = listens
      const ready = async () => ((await fetch(`${address}/readyz`)).ok ? true : undefined)
      await poll<true>(ready, { withinMs: 120_000, what: 'the daemon is ready' })
    },
    async stop() {
      await daemon?.kill()
    },
  }
}
