import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { configSchema } from '../../src/config/schema.ts'
import { startDaemon } from '../../src/daemon.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { fillDisk, freeDisk } from '../timeseries/full-disk.ts'
import { count, openOwnDatabase, silent } from '../timeseries/support.ts'

const SEED = 7
const BEFORE = 20
const JOBS = 121

test('while the disk of ClickHouse is full the intake is held and no job ends; with room again each has its rows once', async (t) => {
  const url = need(t, 'clickhouse')
  if (url === null) return
  const engine = await openOwnDatabase(t, url)
  const everybody = { missingShare: 0, privateShare: 0 }
  const simulator = createSimulator({
    ...{ seed: SEED, creators: 1000, limits: OPEN_LIMITS, latencyMs: 1, jitterMs: 0, ...everybody },
  })
  const { port } = await simulator.start()
  t.after(() => simulator.stop())
  const folder = mkdtempSync(join(tmpdir(), 'millrace-full-disk-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const wide = { rate: 100, burst: 1_000 }
  const config = configSchema.parse({
    data: folder,
    clickhouse: { url, database: engine.database },
    limits: {
      ...{
        global: wide,
        platforms: { youtube: wide },
        cold_start: 'full',
        jitter: '100ms',
        quotas: { youtube: false },
      },
      endpoints: { youtube: { channel: { limit: 10_000, window: '10s' } } },
    },
    platforms: {
      youtube: {
        ...{ origin: `http://127.0.0.1:${port}/youtube`, private_origin: true },
        credentials: DEFAULT_CREDENTIALS.youtube,
      },
      instagram: { enabled: false },
      tiktok: { enabled: false },
    },
    images: { enabled: false },
    rows: { batch_age: '20ms' },
    admin: { port: 0 },
  })
  const input = new PassThrough()
  const daemon = await startDaemon(config, {
    ...{ log: silent, input: { stream: input }, directory: folder, uvThreads: 4 },
  })
  try {
    const creators = creatorIds('youtube', SEED, JOBS, everybody)
    const offer = (from: number, to: number) => {
      for (const creator_id of creators.slice(from, to))
        input.write(`${JSON.stringify({ platform: 'youtube', creator_id, job_type: 'profile' })}\n`)
    }
    const jobs = async () => (await daemon.status()).jobs
    const ended = (n: number) =>
      poll(async () => ((await jobs()).finished.done === n ? true : undefined), {
        ...{ withinMs: 60_000, what: `the end of ${n} jobs` },
      })
    offer(0, BEFORE)
    await ended(BEFORE)

    await fillDisk(engine)
    offer(BEFORE, BEFORE + 1)
    const ready = async () =>
      (await (await fetch(`${daemon.adminUrl}/readyz`)).json()) as { reasons: string[] }
    await poll(async () => ((await ready()).reasons.length > 0 ? true : undefined), {
      ...{ withinMs: 60_000, what: 'the daemon is not ready' },
    })
    assert.deepEqual((await ready()).reasons, ['ClickHouse does not take rows'])
    // The intake is held: what is offered now stays where it is.
    offer(BEFORE + 1, JOBS)
    const refused = async () => {
      const metrics = await (await fetch(`${daemon.adminUrl}/metrics`)).text()
      return Number(
        /^millrace_row_flush_duration_seconds_count\{outcome="error"\} (\d+)$/m.exec(metrics)?.[1],
      )
    }
    const before = await refused()
    await poll(async () => ((await refused()) >= before + 3 ? true : undefined), {
      ...{ withinMs: 60_000, what: 'the insert is repeated' },
    })
    const held = await jobs()
    assert.deepEqual([held.consumed, held.inFlight], [BEFORE + 1, 1])
    assert.deepEqual(held.finished, { done: BEFORE, skipped: 0, dead: 0 })
    const results = () => readFileSync(join(folder, 'millrace.results.ndjson'), 'utf8').split('\n').length - 1
    assert.equal(results(), BEFORE)

    await freeDisk(engine)
    await ended(JOBS)
    assert.equal((await jobs()).finished.dead, 0)
    assert.deepEqual((await ready()).reasons, [])
    assert.equal(await count(engine, 'creators FINAL'), JOBS)
    assert.equal(await count(engine, 'jobs FINAL'), JOBS)
    const followers = `metric = 'followers'`
    const [numbers, days] = [`points FINAL WHERE ${followers}`, `points_daily FINAL WHERE ${followers}`]
    assert.equal(await count(engine, numbers), await count(engine, days))
    assert.equal(results(), JOBS)
  } finally {
    await daemon.stop()
  }
})
