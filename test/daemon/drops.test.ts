import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { configuredLimits } from '../../src/cli/demo/limits.ts'
import { configSchema } from '../../src/config/schema.ts'
import { startDaemon } from '../../src/daemon.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { Growth } from '../../src/simulator/growth.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS, PLAYED } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { execute, select } from '../../src/timeseries/engine.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { silent } from '../timeseries/support.ts'

const SEED = 5
const CREATORS = 12
const DAY_MS = 86_400_000
/** Half of all creators, so that a dozen of them are enough. */
const DROP_SHARE = 0.5

/** Two snapshots of some creators of each platform, two days apart, through a whole daemon; then what `creators` says. */
async function twoSnapshots(t: TestContext, clickhouse?: { url: string; database: string }): Promise<void> {
  const epochMs = Date.now() - 10 * DAY_MS
  let nowMs = epochMs
  const simulator = createSimulator({
    ...{ seed: SEED, creators: 1000, dropShare: DROP_SHARE, epochMs, wallClock: () => nowMs },
    ...{ limits: OPEN_LIMITS, latencyMs: 1, jitterMs: 0, missingShare: 0, privateShare: 0 },
  })
  const { port } = await simulator.start()
  t.after(() => simulator.stop())
  const upstream = `http://127.0.0.1:${port}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-drops-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const config = configSchema.parse({
    data: folder,
    ...(clickhouse === undefined ? {} : { clickhouse }),
    limits: configuredLimits(),
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
    images: { enabled: false },
    rows: { batch_age: '20ms' },
    admin: { enabled: false },
  })
  const input = new PassThrough()
  const daemon = await startDaemon(config, {
    log: silent,
    input: { stream: input },
    directory: folder,
    uvThreads: 4,
  })
  try {
    const ids = new Map(
      PLAYED.map((platform) => [
        platform,
        creatorIds(platform, SEED, CREATORS, { missingShare: 0, privateShare: 0 }),
      ]),
    )
    for (const round of [1, 2]) {
      for (const [platform, creators] of ids) {
        for (const creator_id of creators) {
          const requested_at = new Date(nowMs).toISOString()
          const expires_at = new Date(Date.now() + DAY_MS).toISOString()
          const job = { platform, creator_id, job_type: 'profile', requested_at, expires_at }
          input.write(`${JSON.stringify(job)}\n`)
        }
      }
      await poll(
        async () => {
          const { done, dead } = (await daemon.status()).jobs.finished
          assert.equal(dead, 0)
          return done === round * CREATORS * PLAYED.length ? true : undefined
        },
        { withinMs: 60_000, what: 'the end of a round' },
      )
      nowMs = epochMs + 2 * DAY_MS
    }
    const growth = new Growth({ seed: SEED, timeScale: 1, epochMs, dropShare: DROP_SHARE })
    for (const [platform, creators] of ids) {
      const rows = await select<{ creator_id: string; fell: boolean; flagged: boolean }>(
        daemon.engine,
        `SELECT creator_id, last < first / 2 AS fell, has(flags, 'suspicious_drop') AS flagged
        FROM (SELECT creator_id, argMin(value, ts) AS first, argMax(value, ts) AS last FROM points FINAL
          WHERE metric = 'followers' AND platform = {platform:String} GROUP BY creator_id) AS p
        INNER JOIN (SELECT creator_id, flags FROM creators FINAL WHERE platform = {platform:String}) AS c USING creator_id`,
        { platform },
      )
      assert.equal(rows.length, CREATORS)
      assert.deepEqual(
        rows.filter((row) => Boolean(row.fell) !== Boolean(row.flagged)),
        [],
        platform,
      )
      const played = creators
        .map((_, at) => at)
        .filter((at) => {
          const [first, last] = [epochMs, nowMs].map((ms) => growth.creator(platform, at, ms).followers)
          return last! < first! / 2
        })
      assert.ok(played.length > 0)
      assert.equal(rows.filter((row) => row.flagged).length, played.length, platform)
    }
  } finally {
    await daemon.stop()
  }
}

test('who lost most of their followers between two snapshots is flagged, on a server', async (t) => {
  const url = need(t, 'clickhouse')
  if (url === null) return
  const database = `test_${randomUUID().replaceAll('-', '')}`
  const engine = new ClickHouseEngine({ url, database })
  await engine.open()
  t.after(async () => {
    await execute(engine, `DROP DATABASE IF EXISTS ${database} SYNC`)
    await engine.close()
  })
  await twoSnapshots(t, { url, database })
})

test('who lost most of their followers between two snapshots is flagged, on the embedded engine', (t) =>
  twoSnapshots(t))
