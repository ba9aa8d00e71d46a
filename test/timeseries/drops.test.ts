import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { JobRows, Row } from '../../src/job/row.ts'
import { dropFlags } from '../../src/platforms/quality.ts'
import { ChdbEngine } from '../../src/timeseries/chdb.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { type Engine, execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { migrate } from '../../src/timeseries/migrate.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, point, START_MS, startSink } from './support.ts'

/** Cases of the property; by hand: `MILLRACE_DROPS_CASES=300`. */
const CASES = Number(process.env.MILLRACE_DROPS_CASES ?? 8)
/** Random, so that every run looks elsewhere; a failure names its own. */
const SEED = Number(process.env.MILLRACE_DROPS_SEED ?? Math.floor(Math.random() * 0x7fff_0000))

interface Seen {
  readonly creator: string
  /** Days after START_MS. */
  readonly day: number
  /** Null when the platform hides them. */
  readonly followers: number | null
  readonly flags?: readonly string[]
  readonly name?: string
}

/** A snapshot as an adapter returns it. */
function snapshot({ creator, day, followers, flags = [], name = '' }: Seen): JobRows {
  const facts = { handle: creator, biography: '', verified: false, gone: false, email: '', pictureUrl: '' }
  const rows: Row[] = [
    ...(followers === null ? [] : [point('followers', followers)]),
    { table: 'creators', name, flags, ...facts },
  ]
  const tsMs = START_MS + day * DAY_MS
  return jobRows(`${creator}-${day}`, rows, { creatorId: creator, tsMs })
}

/** As the adapters of other platforms: several platforms have creators of one name. */
function on(platform: string, rows: JobRows): JobRows {
  return { ...rows, platform }
}

interface Stored {
  readonly flags: string[]
  readonly name: string
  readonly followers: number | null
  readonly followers_before: number | null
  readonly ts: string
}

async function storedOf(
  engine: Engine,
  creator: string,
  platform = 'instagram',
): Promise<Stored | undefined> {
  const [row] = await select<Stored>(
    engine,
    `SELECT flags, name, followers, followers_before, ts FROM creators FINAL
    WHERE platform = {platform:String} AND creator_id = {creator:String}`,
    { platform, creator },
  )
  return row
}

/** The property below, and every deterministic case, on an engine of either kind. `shared` opens one that all of them use. */
function behaviours(shared: (t: TestContext) => Promise<Engine | null>): void {
  /** Without creators. */
  const open = async (t: TestContext) => {
    const engine = await shared(t)
    if (engine !== null) {
      await migrate(engine)
      await execute(engine, 'TRUNCATE TABLE creators')
    }
    return engine
  }

  test('a creator who lost more than half of the followers since the snapshot before is flagged', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    await sink.write(snapshot({ creator: 'a', day: 0, followers: 1000 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, [])
    await sink.write(snapshot({ creator: 'a', day: 1, followers: 499, flags: ['mine'] }), never)
    const fallen = await storedOf(engine, 'a')
    assert.deepEqual(fallen?.flags, ['mine', 'suspicious_drop'])
    assert.deepEqual([fallen?.followers, fallen?.followers_before], [499, 1000])
    // The next one is compared with that one, exactly half is not more than half, and who rose did not fall.
    await sink.write(snapshot({ creator: 'a', day: 2, followers: 249.5 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, [])
    await sink.write(snapshot({ creator: 'a', day: 3, followers: 5000 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, [])
  })

  test('only the same creator of the same platform counts', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    await sink.write(on('tiktok', snapshot({ creator: 'a', day: 0, followers: 1000 })), never)
    await sink.write(snapshot({ creator: 'b', day: 0, followers: 1000 }), never)
    await sink.write(snapshot({ creator: 'a', day: 1, followers: 10 }), never)
    await sink.write(on('own', snapshot({ creator: 'a', day: 1, followers: 10 })), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, [])
    assert.deepEqual((await storedOf(engine, 'a', 'own'))?.flags, [])
    await sink.write(on('own', snapshot({ creator: 'a', day: 2, followers: 4 })), never)
    assert.deepEqual((await storedOf(engine, 'a', 'own'))?.flags, ['suspicious_drop'])
  })

  test('snapshots of one batch know each other, whatever their order', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 200 })
    const days = [3, 1, 2].map((day) => snapshot({ creator: 'a', day, followers: 1000 / 4 ** day }))
    await Promise.all(days.map((rows) => sink.write(rows, never)))
    const newest = await storedOf(engine, 'a')
    assert.deepEqual(newest?.flags, ['suspicious_drop'])
    assert.equal(newest?.followers_before, 1000 / 4 ** 2)
  })

  test('a snapshot that comes late is what the newest one is compared with from then on', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    await sink.write(
      snapshot({ creator: 'a', day: 5, followers: 400, flags: ['mine'], name: 'newest' }),
      never,
    )
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['mine'])
    await sink.write(snapshot({ creator: 'a', day: 1, followers: 1000, name: 'late' }), never)
    const flagged = await storedOf(engine, 'a')
    assert.deepEqual(flagged?.flags, ['mine', 'suspicious_drop'])
    assert.deepEqual([flagged?.name, flagged?.followers], ['newest', 400])
    await sink.write(snapshot({ creator: 'a', day: 3, followers: 700 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['mine'])
    // Older than the one before the newest: nothing to say.
    await sink.write(snapshot({ creator: 'a', day: 2, followers: 9000 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['mine'])
  })

  test('a job that is repeated and finds other numbers replaces what it found before', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    const write = (day: number, followers: number) =>
      sink.write(snapshot({ creator: 'a', day, followers }), never)
    await write(0, 1000)
    await write(1, 400)
    await write(1, 600)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, [])
    await write(0, 1300)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['suspicious_drop'])
    await write(1, 600)
    const last = await storedOf(engine, 'a')
    assert.deepEqual([last?.flags, last?.followers_before], [['suspicious_drop'], 1300])
  })

  test('hidden followers are no drop, and the last number known is compared with when they are shown again', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    await sink.write(snapshot({ creator: 'a', day: 0, followers: 1000 }), never)
    await sink.write(snapshot({ creator: 'a', day: 1, followers: null, flags: ['hidden_followers'] }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['hidden_followers'])
    await sink.write(snapshot({ creator: 'a', day: 2, followers: 300 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['suspicious_drop'])
    await sink.write(snapshot({ creator: 'a', day: 3, followers: 0 }), never)
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['suspicious_drop'])
  })

  // Some hundred inserts, one after another: seconds, and a minute where twenty processes want the processor.
  test('snapshots that arrive twice in any order, in batches of any size, their answers lost now and then, end with the flags of their order', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const limits = { ageMs: 1, backoffMsMin: 1, backoffMsMax: 5 }
    const { sink } = await startSink(t, losingAnswers(engine), limits)
    const cases = fc.sample(arrivals, { seed: SEED, numRuns: CASES })
    // Side by side, with creators of their own: what a case has in one batch goes into one insert with that of the others.
    for (let batch = 0; cases.some(({ order }) => batch < order.length); batch += 1) {
      const together = cases.flatMap(({ order }, n) => (order[batch] ?? []).map((one) => ofCase(n, one)))
      await Promise.all(together.map((one) => sink.write(snapshot(one), never)))
    }
    const seen = cases.flatMap((one, n) => one.seen.map((snapshot) => ofCase(n, snapshot)))
    const wanted = new Map(
      [...Map.groupBy(seen, ({ creator }) => creator)].map(([creator, all]) => [creator, inTheirOrder(all)]),
    )
    const rows = await select<Omit<Stored, 'name'> & { creator_id: string }>(
      engine,
      'SELECT creator_id, ts, followers, followers_before, flags FROM creators FINAL',
    )
    const stored = new Map(rows.map(({ creator_id, ...row }) => [creator_id, row]))
    assert.deepEqual(stored, wanted, `MILLRACE_DROPS_SEED=${SEED}`)
    t.diagnostic(`${CASES} cases from seed ${SEED}, ${wanted.size} creators: none wrong`)
  })
}

/** What is stored of a creator whose snapshots came once each, oldest first. */
function inTheirOrder(snapshots: readonly Seen[]): Omit<Stored, 'name'> {
  const inOrder = snapshots.toSorted((a, b) => a.day - b.day)
  const { day, followers } = inOrder.at(-1)!
  const before = inOrder.slice(0, -1).findLast((one) => one.followers !== null)?.followers ?? null
  const flags = dropFlags({ followers: before ?? undefined }, { followers: followers ?? undefined })
  return { ts: sqlTime(START_MS + day * DAY_MS), followers, followers_before: before, flags }
}

function ofCase(n: number, seen: Seen): Seen {
  return { ...seen, creator: `${n}-${seen.creator}` }
}

/** Every third insert of creators is stored and its answer lost, so that the sink repeats it. */
function losingAnswers(engine: Engine): Engine {
  let inserts = 0
  const command: Engine['write']['command'] = async (params) => {
    const answer = await engine.write.command(params)
    if (params.query.startsWith('INSERT INTO creators_in') && ++inserts % 3 === 0)
      throw new Error('the answer is lost')
    return answer
  }
  const write = new Proxy(engine.write, {
    get: (client, key) => (key === 'command' ? command : Reflect.get(client, key)),
  })
  return { name: engine.name, database: engine.database, write, read: engine.read, ...openAlready }
}

const openAlready = { open: async () => {}, ping: async () => {}, close: async () => {} }

const arrivals = fc
  .uniqueArray(
    fc.record({
      creator: fc.constantFrom('a', 'b', 'c'),
      day: fc.nat(12),
      followers: fc.option(fc.integer({ min: 0, max: 30 }), { freq: 6 }),
    }),
    { minLength: 6, maxLength: 20, selector: ({ creator, day }) => `${creator} ${day}` },
  )
  .chain((seen) => {
    const twice = [...seen, ...seen]
    const all = { minLength: twice.length, maxLength: twice.length }
    return fc.record({
      seen: fc.constant(seen),
      order: fc
        .tuple(fc.shuffledSubarray(twice, all), fc.integer({ min: 1, max: 8 }))
        .map(([items, size]) =>
          Array.from({ length: Math.ceil(items.length / size) }, (_, n) =>
            items.slice(n * size, (n + 1) * size),
          ),
        ),
    })
  })

describe('drops on a server', () => {
  let engine: Engine | undefined
  behaviours(async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return null
    engine ??= new ClickHouseEngine({ url, database: `test_${randomUUID().replaceAll('-', '')}` })
    await engine.open()
    return engine
  })
  after(async () => {
    if (engine === undefined) return
    await execute(engine, `DROP DATABASE IF EXISTS ${engine.database} SYNC`)
    await engine.close()
  })

  test('while the engine is away jobs wait, and what they find when it is back is compared all the same', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const engine = await openOwnDatabase(t, url)
    const { sink } = await startSink(t, engine, { ageMs: 1, backoffMsMin: 5, backoffMsMax: 20 })
    await sink.write(snapshot({ creator: 'a', day: 0, followers: 1000 }), never)
    await execute(engine, 'RENAME TABLE creators TO creators_away')
    const write = sink.write(snapshot({ creator: 'a', day: 1, followers: 10 }), never)
    const leaving = new AbortController()
    const left = sink.write(snapshot({ creator: 'b', day: 1, followers: 10 }), leaving.signal)
    await until(() => !sink.healthy, 'the sink says that inserts fail')
    leaving.abort()
    await assert.rejects(left, { name: 'AbortError' })
    await execute(engine, 'RENAME TABLE creators_away TO creators')
    await write
    assert.deepEqual((await storedOf(engine, 'a'))?.flags, ['suspicious_drop'])
  })
})

describe('drops on the embedded engine', () => {
  let folder = ''
  let engine: Engine | undefined
  behaviours(async () => {
    folder ||= await mkdtemp(join(tmpdir(), 'millrace-drops-'))
    engine ??= new ChdbEngine({ path: join(folder, 'data'), database: 'drops' })
    await engine.open()
    return engine
  })
  after(async () => {
    await engine?.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  })
})
