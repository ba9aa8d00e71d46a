import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { type Engine, execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { migrate, readMigrations, schemaState } from '../../src/timeseries/migrate.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { TimeSeriesSink } from '../../src/timeseries/row-sink.ts'
import { need } from '../need.ts'
import { count, DAY_MS, jobRows, never, openOwnDatabase, point, START_MS, silent } from './support.ts'

const MIGRATIONS = await readMigrations()
/** Has `points` and `points_daily`; what comes later is filled from them, or by views of them. */
const OLD = 4
const PROCESSES = 10
/** Which of them die, and after how many statements of theirs; there are 33 in all. */
const KILLED = new Map([
  [1, 2],
  [4, 5],
  [7, 9],
])
const DAYS = 5
const PROGRAM = fileURLToPath(new URL('migrating-process.ts', import.meta.url))

/** Two numbers of the n-th creator, on one of the last days. */
const rowsOf = (n: number) => [point('followers', n), point('engagement_rate', n / 1e6)]
const dayOf = (n: number) => START_MS + (14 + (n % DAYS)) * DAY_MS

/** Whatever stands in `points` stands in everything that is made of it. */
async function assertWhole(engine: Engine, creators: number): Promise<void> {
  assert.equal(await count(engine, 'points FINAL'), 2 * creators)
  const missed = await select(
    engine,
    `SELECT creator_id, metric FROM points FINAL
    WHERE (creator_id, metric, value) NOT IN (SELECT creator_id, metric, value FROM points_daily FINAL) LIMIT 3`,
  )
  assert.deepEqual(missed, [])
  await refreshViews(engine)
  const [total] = await select<{ creators: number | string; total: number }>(
    engine,
    `SELECT sum(creators) AS creators, sum(total) AS total FROM platform_daily WHERE metric = 'followers'`,
  )
  assert.deepEqual([Number(total?.creators), total?.total], [creators, (creators * (creators - 1)) / 2])
}

/** Dies after the first statement that nobody ran before, or comes to the end of its migration. */
async function dieAtNext(engine: Engine, ran: Set<string>): Promise<'died' | 'migrated'> {
  const dead = new Error('died')
  const command: Engine['write']['command'] = async (params) => {
    const answer = await engine.write.command(params)
    if (ran.has(params.query)) return answer
    ran.add(params.query)
    throw dead
  }
  const write = new Proxy(engine.write, {
    get: (client, key) => (key === 'command' ? command : Reflect.get(client, key)),
  })
  const { name, database, read } = engine
  const nothing = async () => {}
  try {
    await migrate({ name, database, read, write, open: nothing, ping: nothing, close: nothing })
    return 'migrated'
  } catch (error) {
    if (error instanceof Error && error.cause === dead) return 'died'
    throw error
  }
}

describe('a migration with rows in the database', () => {
  test('is completed by the next daemon, after whichever statement the last one died', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const ran = new Set<string>()
    let deaths = 0
    let creators = 0
    while ((await dieAtNext(engine, ran)) === 'died') {
      deaths += 1
      if ((await schemaState(engine)).version < OLD) continue
      // An older daemon goes on writing meanwhile.
      const values = rowsOf(creators).map(
        (row) =>
          row.table === 'points' &&
          `('${sqlTime(dayOf(creators))}', 'p', '${row.metric}', 'c${creators}', ${row.value})`,
      )
      await execute(
        engine,
        `INSERT INTO points (ts, platform, metric, creator_id, value) VALUES ${values.join()}`,
      )
      creators += 1
    }
    const statements = MIGRATIONS.reduce((sum, migration) => sum + migration.statements.length, 0)
    assert.ok(deaths > statements, `${deaths} deaths, ${statements} statements`)
    assert.deepEqual(await migrate(engine), [])
    await assertWhole(engine, creators)
    const rates = await select(engine, 'SELECT creator_id, rate FROM creators_engagement FINAL ORDER BY rate')
    assert.deepEqual(
      rates,
      Array.from({ length: creators }, (_, n) => ({ creator_id: `c${n}`, rate: n / 1e6 })),
    )
  })

  test('is done by ten processes at once, three of which are killed, while an older daemon goes on writing', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const old = new TimeSeriesSink({
      ...{ engine, metrics: createMetrics(), log: silent, limits: { ageMs: 5 } },
      ...{ keepEngineOpen: true, migrations: MIGRATIONS.slice(0, OLD) },
    })
    t.after(() => old.stop())
    await old.start()
    let creators = 0
    const write = () => {
      const n = creators
      creators += 1
      return old.write(jobRows(`j${n}`, rowsOf(n), { creatorId: `c${n}`, tsMs: dayOf(n) }), never)
    }
    await Promise.all(Array.from({ length: 50 }, write))
    const before = creators

    const processes = Array.from({ length: PROCESSES }, (_, index) =>
      spawn(process.execPath, [PROGRAM, url, engine.database, String(KILLED.get(index) ?? 'Infinity')], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    )
    t.after(() => processes.map((one) => one.kill('SIGKILL')))
    const ends = processes.map((one) => once(one, 'exit'))
    const open = async (one: (typeof processes)[number], index: number) => {
      const end = ends[index]!.then(([code, signal]) =>
        assert.fail(`process ${index} ended with ${code ?? signal} before it was open`),
      )
      await Promise.race([once(one.stdout, 'data'), end])
    }
    await Promise.all(processes.map(open))
    let writing = true
    const writers = Array.from({ length: 4 }, async () => {
      while (writing) await write()
    })
    // Who is to die goes first: when others have done it all, it has too little to do for that.
    const order = [...processes.keys()].sort((a, b) => Number(KILLED.has(b)) - Number(KILLED.has(a)))
    for (const index of order) {
      processes[index]!.stdout.resume()
      processes[index]!.stdin.end('go\n')
    }
    const codes = (await Promise.all(ends)).map(([code, signal]) => code ?? signal)
    writing = false
    await Promise.all(writers)
    const during = creators - before
    // One that was held up may have found less to do than it had to live for.
    const killed = codes.filter((_, index) => KILLED.has(index))
    assert.ok(killed.includes('SIGKILL') && killed.every((code) => code === 'SIGKILL' || code === 0))
    assert.ok(codes.every((code, index) => KILLED.has(index) || code === 0))
    assert.ok(during > 0, 'rows came in meanwhile')
    assert.deepEqual(await migrate(engine), [])
    assert.equal(await count(engine, 'migrations FINAL'), MIGRATIONS.length)
    await Promise.all(Array.from({ length: DAYS }, write))
    await assertWhole(engine, creators)
    // An insert that began before a view was made, and ended after the migration looked, is in the view's table with its next snapshot.
    const there = await select<{ creator_id: string }>(
      engine,
      'SELECT creator_id FROM creators_engagement FINAL',
    )
    const rated = new Set(there.map(({ creator_id }) => Number(creator_id.slice(1))))
    const missing = Array.from({ length: creators }, (_, n) => n).filter((n) => !rated.has(n))
    assert.deepEqual(
      missing.filter((n) => n < before || n >= before + during),
      [],
    )
    t.diagnostic(`${during} jobs written meanwhile, ${missing.length} of them without their engagement rate`)
  })
})
