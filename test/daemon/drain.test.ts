import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS } from '../../src/simulator/options.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { silent } from '../contract/source.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { publish } from './kafka-topics.ts'
import { Millrace } from './process.ts'
import { realKafka } from './real-configuration.ts'

const JOBS = 3_000
const SEED = 17
const DEADLINE_S = 30
/** So many jobs are done before each SIGTERM. */
const STOP_AFTER = [500, 1_200]

test('a daemon that is told to stop under full load drains within its deadline, and the next one repeats nothing', {
  timeout: 500_000,
}, async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || kcat === null) return
  const run = `drain${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-drain-'))
  const admin = createKafkaClient({ brokers: [broker], clientId: run }, silent).admin()
  const millraces: Millrace[] = []
  t.after(async () => {
    await Promise.all(millraces.map((one) => one.kill()))
    await admin.disconnect()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  await admin.connect()
  const start = async (args: string[], says: RegExp) => {
    const one = new Millrace(args, { cwd: folder })
    millraces.push(one)
    return { one, said: await one.says(says) }
  }

  const bucket = { rate: 150, burst: 300 }
  const window = { limit: 2_000, window: '10s' }
  const limits = { global: bucket, platforms: { youtube: bucket }, endpoints: {} }
  const { said } = await start(
    [
      ...['simulate', '--port', '0', '--seed', String(SEED), '--latency', '800ms', '--jitter', '400ms'],
      ...['--missing', '0', '--private', '0', '--limits', JSON.stringify(limits)],
    ],
    /http:\/\/[\d.:]+/,
  )
  const upstream = said[0]
  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({
      data: join(folder, 'data'),
      drain_deadline: `${DEADLINE_S}s`,
      kafka: { ...realKafka(run, broker), partitions: 4, session_timeout: '30s' },
      redis: { url: redis, key_prefix: run, command_timeout: '10s' },
      limits: {
        global: limits.global,
        platforms: limits.platforms,
        endpoints: { youtube: { channel: window } },
        default_endpoint: window,
        quotas: { youtube: false },
        latency: '100ms',
        cold_start: 'full',
      },
      platforms: {
        youtube: {
          origin: `${upstream}/youtube`,
          private_origin: true,
          credentials: DEFAULT_CREDENTIALS.youtube,
        },
        instagram: { enabled: false },
        tiktok: { enabled: false },
      },
      images: { enabled: false },
      // An upstream that stands still for a while answers all the same: each job is one call.
      fetch: { read_timeout: '25s' },
      admin: { port: 0 },
      log: { jobs: 'none' },
    }),
  )
  const daemon = async () => (await start(['run'], /"admin":"(http:[^"]+)","msg":"millrace is running"/)).one
  const first = await daemon()
  const jobs = creatorIds('youtube', SEED, JOBS, { handles: true, creators: 10_000 }).map(
    (creator_id, index) => ({
      key: creator_id,
      value: JSON.stringify({
        platform: 'youtube',
        creator_id,
        job_type: 'profile',
        job_id: `${run}-${index}`,
      }),
    }),
  )
  await publish(kcat, broker, `${run}.jobs`, jobs)

  const results = async () =>
    (await admin.fetchTopicOffsets(`${run}.results`)).reduce((sum, { high }) => sum + Number(high), 0)
  const reach = (count: number) =>
    poll(async () => ((await results()) >= count ? true : undefined), {
      ...{ withinMs: 200_000, everyMs: 100, what: `${count} results` },
    })
  const drains: string[] = []
  let running = first
  for (const count of STOP_AFTER) {
    await reach(count)
    const startedAtMs = performance.now()
    const ended = await running.stop()
    const tookS = (performance.now() - startedAtMs) / 1_000
    assert.equal(ended.code, 0, ended.stderr.slice(-2_000))
    assert.ok(tookS < DEADLINE_S, `${tookS} s`)
    drains.push(`${tookS.toFixed(1)} s`)
    running = await daemon()
  }
  await reach(JOBS)
  assert.equal((await running.stop()).code, 0)
  assert.equal(await results(), JOBS)
  const oracle = (await (await fetch(`${upstream}/oracle`)).json()) as OracleReport
  assert.deepEqual([oracle.arrivals, oracle.violations], [JOBS, 0])
  t.diagnostic(
    `drained in ${drains.join(' and ')}, about 150 requests of a second under way; nothing was done twice`,
  )
})
