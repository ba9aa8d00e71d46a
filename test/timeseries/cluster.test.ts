import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import type { JobRows, Row } from '../../src/job/row.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { ClusterDdl } from '../../src/timeseries/cluster.ts'
import { type Engine, execute, select } from '../../src/timeseries/engine.ts'
import { migrate, planMigration, readMigrations, schemaState } from '../../src/timeseries/migrate.ts'
import { StoredPictureRows } from '../../src/timeseries/picture-rows.ts'
import { fastestGrowing, history, rowCounts, totalsByPlatform } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import {
  CLUSTER,
  type ClickhouseCluster,
  forOneNode,
  startClickhouseCluster,
} from '../services/clickhouse-cluster.ts'
import { until } from '../until.ts'
import {
  count,
  DAY_MS,
  isSettled,
  jobRows,
  never,
  openOwnDatabase,
  point,
  START_MS,
  startSink,
} from './support.ts'

const PLACE = { database: 'millrace', cluster: CLUSTER }

describe('the schema of a cluster', () => {
  test('shards every table by columns of its key, so that the versions of a row meet', async () => {
    const { steps } = await planMigration(undefined, PLACE)
    const statements = steps.flatMap((step) => step.statements)
    const stored = statements.filter((sql) => /EXISTS \w+_local .*\nENGINE = Replicated/s.test(sql))
    assert.ok(stored.length >= 7)
    for (const sql of stored) {
      const [, table = '', key = ''] = /EXISTS (\w+)_local .*\nORDER BY \(([^\n]*)\)\n/s.exec(sql) ?? []
      const over = statements.find((one) => one.includes(`EXISTS ${table} ON CLUSTER`)) ?? ''
      const sharded = /cityHash64\((.*)\)\)$/.exec(over)?.[1]?.split(', ') ?? []
      // A shard's views fill the others, and nobody inserts into all shards of them.
      assert.equal(sharded.length > 0, /^ +creator_id /m.test(sql), table)
      for (const column of sharded) assert.ok(key.split(', ').includes(column), `${table}: ${column}`)
    }
  })

  test('is named in one line when a migration has a statement that it cannot spread', () => {
    const ddl = new ClusterDdl(PLACE)
    assert.throws(() => ddl.spread('RENAME TABLE points TO numbers'), { code: 'MIGRATION_CLUSTER' })
    const joined = `CREATE MATERIALIZED VIEW IF NOT EXISTS all_time\nREFRESH EVERY 1 HOUR\n(\n    total Float64\n)\nENGINE = MergeTree\nORDER BY total\nAS SELECT 1`
    assert.throws(() => ddl.spread(joined), { code: 'MIGRATION_CLUSTER' })
  })

  test('drops what it made, the tables behind the name too', () => {
    const ddl = new ClusterDdl(PLACE)
    ddl.spread(
      'CREATE TABLE IF NOT EXISTS points\n(\n    ts Date\n)\nENGINE = ReplacingMergeTree(version)\nORDER BY ts',
    )
    assert.deepEqual(ddl.spread('DROP TABLE IF EXISTS points'), [
      `DROP TABLE IF EXISTS points ON CLUSTER \`${CLUSTER}\` SYNC`,
      `DROP TABLE IF EXISTS points_local ON CLUSTER \`${CLUSTER}\` SYNC`,
    ])
  })

  test('is taken by the parser of the engine', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const retention = { points: 90, daily: 1000, jobs: 'forever' } as const
    const { steps } = await planMigration(undefined, PLACE, { retention })
    const all = steps.flatMap((step) => step.statements)
    const parsed = await select<{ text: string }>(
      engine,
      'SELECT formatQuery(arrayJoin({all:Array(String)})) AS text',
      { all },
    )
    assert.equal(parsed.length, all.length)
    const spread = parsed.filter(({ text }) => text.includes('ON CLUSTER'))
    assert.equal(spread.length, all.filter((sql) => !sql.startsWith('INSERT INTO')).length)
  })
})

/** Every table gets rows; creators on both shards, snapshots twice, in two orders, one corrected. */
function jobs(): JobRows[] {
  const facts = { biography: '', verified: false, gone: false, flags: [], email: '', pictureUrl: '' }
  const all = Array.from({ length: 40 }, (_, n) => {
    const [creator, day] = [Math.floor(n / 4), n % 4]
    const followers =
      1000 * (creator + 1) + (creator % 3 === 0 && day === 3 ? -900 * (creator + 1) : day * (n + 1))
    const rows: Row[] = [
      point('followers', followers),
      { table: 'creators', name: `day ${day}`, handle: `c${creator}`, ...facts },
      { table: 'media', mediaId: 'm', kind: 'image', title: `day ${day}`, url: '', publishedAtMs: 0 },
      { table: 'media_points', mediaId: 'm', metric: 'likes', value: n },
      {
        ...{
          table: 'pictures',
          subject: 'avatar',
          variant: 'w',
          key: `k${creator}`,
          sourceUrl: '',
          sha256: '',
        },
        ...{ width: 1, height: 1, bytes: 1, thumbhash: '' },
      },
      { table: 'jobs', jobType: 'profile', status: 'done', reason: '', attempts: 1, durationMs: 1 },
    ]
    return jobRows(`j${n}`, rows, { creatorId: `c${creator}`, tsMs: START_MS + (day + 14) * DAY_MS })
  })
  return [...all, ...all.toReversed()]
}

async function everythingRead(engine: Engine) {
  const window = { metric: 'followers', fromMs: START_MS, toMs: Date.now() }
  const pictures = new StoredPictureRows(engine)
  return {
    counts: await rowCounts(engine),
    growing: await fastestGrowing(engine, { ...window, by: 'relative' }),
    daily: await fastestGrowing(engine, { ...window, by: 'absolute', source: 'points_daily' }),
    totals: await totalsByPlatform(engine, 'followers'),
    history: await history(engine, { ...window, platform: 'instagram', creatorId: 'c3' }),
    pictures: [await pictures.count(never), await pictures.between({ from: 'k1', below: 'k9' }, never)],
    flags: await select(
      engine,
      'SELECT creator_id, name, flags, followers_before FROM creators FINAL ORDER BY creator_id',
    ),
    // Ordered whole, since rows come from shards in no order.
    platformDaily: await select(engine, 'SELECT * FROM platform_daily ORDER BY ALL'),
    growth: await select(engine, 'SELECT * FROM growth_7d ORDER BY ALL'),
  }
}

describe('a cluster of two shards', () => {
  let cluster: ClickhouseCluster | undefined
  before(async () => {
    // Not where no engine can be had at all; the tests say so.
    if (process.env.MILLRACE_TEST_CLICKHOUSE !== undefined) cluster = await startClickhouseCluster()
  })
  after(() => cluster?.stop())

  async function openOnCluster(t: Parameters<typeof startSink>[0], database: string) {
    const { address } = cluster ?? assert.fail('no cluster')
    const engine = new ClickHouseEngine({ url: address, database, cluster: CLUSTER })
    await engine.open()
    t.after(() => engine.close())
    return engine
  }

  /** On each node what it refreshes itself; the stand-in knows no ON CLUSTER for it. */
  async function refresh(addresses: readonly string[], database: string) {
    const views = `SELECT view FROM system.view_refreshes WHERE database = '${database}' FORMAT TSV`
    const run = async (address: string, body: string) => {
      const reply = await fetch(address, { method: 'POST', body })
      const text = await reply.text()
      assert.equal(reply.status, 200, text)
      return text.trim()
    }
    for (const address of addresses) {
      for (const view of (await run(address, views)).split('\n')) {
        await run(address, `SYSTEM REFRESH VIEW ${database}.${view}`)
        await run(address, `SYSTEM WAIT VIEW ${database}.${view}`)
      }
    }
  }

  test('reads as one server does, whatever is repeated and corrected', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const single = await openOwnDatabase(t, url)
    const spread = await openOnCluster(t, 'read')
    for (const engine of [single, spread]) {
      const { sink } = await startSink(t, engine, { ageMs: 20, rowsMax: 100 })
      for (const half of [jobs().slice(0, 40), jobs().slice(40)])
        await Promise.all(half.map((job) => sink.write(job, never)))
      const corrected = `INSERT INTO points (ts, platform, metric, creator_id, value, version)
        SELECT ts, platform, metric, creator_id, value - 1, 2 FROM points FINAL WHERE creator_id IN ('c1', 'c2')`
      await execute(engine, corrected)
    }
    await refresh([url], single.database)
    await refresh(cluster?.nodes.map(({ service }) => service.address) ?? [], spread.database)
    assert.deepEqual(await everythingRead(spread), await everythingRead(single))
    // The queries of docs/schema.md are promised to work unchanged.
    const page = await readFile(new URL('../../docs/schema.md', import.meta.url), 'utf8')
    for (const [, query = ''] of page.matchAll(/```sql\n(.*?)```/gs)) {
      await (await spread.read.query({ query, format: 'JSONEachRow' })).json()
    }
    const shards = await select(spread, 'SELECT DISTINCT _shard_num AS shard FROM creators ORDER BY shard')
    assert.equal(shards.length, 2, 'both shards have creators')
  })

  test('is migrated by three daemons at once, and again when a node has no tables', async (t) => {
    if (need(t, 'clickhouse') === null) return
    const engine = await openOnCluster(t, 'written')
    await Promise.all([migrate(engine), migrate(engine), migrate(engine)])
    const files = await readMigrations()
    assert.equal(await count(engine, 'migrations FINAL'), files.length)
    assert.deepEqual(await migrate(engine), [])
    const [, second] = cluster?.nodes ?? []
    const drop = { method: 'POST', body: `DROP DATABASE ${engine.database} SYNC` }
    await fetch(second?.service.address ?? '', drop)
    assert.equal((await schemaState(engine)).pending.length, files.length)
    await migrate(engine)
    assert.deepEqual((await schemaState(engine)).pending, [])
  })

  test('fills a table that a newer version adds from what an older one has, on every shard', async (t) => {
    if (need(t, 'clickhouse') === null) return
    const engine = await openOnCluster(t, 'older')
    const files = await readMigrations()
    await migrate(engine, { migrations: files.slice(0, 7) })
    const rates = Array.from(
      { length: 20 },
      (_, n) => `(now64(3), 'youtube', 'engagement_rate', 'c${n}', ${n / 100})`,
    )
    await execute(
      engine,
      `INSERT INTO points (ts, platform, metric, creator_id, value) VALUES ${rates.join()}`,
    )
    await migrate(engine)
    const placed = (table: string, value: string) =>
      select<{ shard: number }>(
        engine,
        `SELECT creator_id, ${value} AS rate, _shard_num AS shard FROM ${table} FINAL ORDER BY creator_id`,
      )
    const there = await placed('creators_engagement', 'rate')
    assert.deepEqual(there, await placed('points', 'value'))
    assert.equal(there.length, 20)
    assert.equal(new Set(there.map(({ shard }) => shard)).size, 2, 'both shards have creators')
  })

  test('is refused where the tables are those of one server, and the other way round', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const alone = new ClickHouseEngine({ url: cluster?.address ?? '', database: 'written' })
    t.after(() => alone.close())
    await alone.open()
    const message = /^The tables of database written were made for a cluster: set clickhouse.cluster/
    await assert.rejects(migrate(alone), { code: 'SCHEMA_CLUSTER', kind: 'usage', message })
    const single = await openOwnDatabase(t, url)
    await execute(single, 'CREATE TABLE points (ts DateTime) ENGINE = Memory')
    const asCluster = new ClickHouseEngine({ url, database: single.database, cluster: CLUSTER })
    t.after(() => asCluster.close())
    await asCluster.open()
    await assert.rejects(migrate(asCluster), {
      code: 'SCHEMA_CLUSTER',
      kind: 'usage',
      message: /single server/,
    })
  })

  test('acknowledges nothing that a shard did not store, and goes on when it is back', async (t) => {
    if (need(t, 'clickhouse') === null) return
    const engine = await openOnCluster(t, 'written')
    const { sink } = await startSink(t, engine, { ageMs: 1, backoffMsMin: 5, backoffMsMax: 50 })
    const [, second] = cluster?.nodes ?? []
    assert.ok(second)
    await second.service.kill()
    const rows = Array.from({ length: 20 }, (_, n) =>
      jobRows(`j${n}`, [point('followers', n)], { creatorId: `c${n}` }),
    )
    const writes = Promise.all(rows.map((job) => sink.write(job, never)))
    await until(() => !sink.healthy, 'the sink says that inserts fail')
    assert.equal(await isSettled(writes), false)
    await second.service.restart()
    await second.listen()
    await writes
    assert.equal(await count(engine, 'points FINAL'), 20)
    assert.equal(await count(engine, 'points_daily FINAL'), 20)
  })

  test('takes the replicated tables, each under a path of its own in Keeper', async (t) => {
    if (need(t, 'clickhouse') === null) return
    const [first] = cluster?.nodes ?? []
    const run = async (body: string, database = 'default') => {
      const url = new URL(`/?database=${database}`, first?.service.address)
      const reply = await fetch(url, { method: 'POST', body })
      const text = await reply.text()
      assert.equal(reply.status, 200, text)
      return text
    }
    const { steps } = await planMigration(undefined, { ...PLACE, database: 'replicated' })
    for (const [n, sql] of steps.flatMap((step) => step.statements).entries()) {
      // A replicated table cannot be changed here, see the service; some views need its changes.
      if (!/^CREATE (DATABASE|TABLE)/.test(sql)) continue
      await run(forOneNode(sql, true), n === 0 ? 'default' : 'replicated')
    }
    const paths = `SELECT zookeeper_path, replica_name FROM system.replicas WHERE database = 'replicated' ORDER BY ALL`
    const stored = steps
      .flatMap((step) => step.statements)
      .map((sql) => /EXISTS (\w+_local) .*\nENGINE = Replicated/s.exec(sql)?.[1])
      .filter((table) => table !== undefined)
    assert.deepEqual((await run(paths)).trim().split('\n'), [
      ...stored.toSorted().map((table) => `/clickhouse/tables/a/replicated/${table}\tone`),
      '/clickhouse/tables/all/replicated/migrations\ta-one',
    ])
  })
})
