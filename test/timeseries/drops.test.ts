import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import type { JobRows, Row } from '../../src/job/row.ts'
import { dropFlags } from '../../src/platforms/quality.ts'
import { ChdbEngine } from '../../src/timeseries/chdb.ts'
import { type Engine, execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { need } from '../need.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, point, START_MS, startSink, until } from './support.ts'

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

/** The property below, and every deterministic case, on an engine of either kind. */
function behaviours(open: (t: Parameters<typeof startSink>[0]) => Promise<Engine | null>): void {
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

  test('snapshots that arrive twice in any order, in batches of any size, end with the flags of their order', async (t) => {
    const engine = await open(t)
    if (engine === null) return
    const { sink } = await startSink(t, engine, { ageMs: 1 })
    await fc.assert(
      fc.asyncProperty(arrivals, async ({ seen, order }) => {
        await execute(engine, 'TRUNCATE TABLE creators')
        for (const batch of order) await Promise.all(batch.map((one) => sink.write(snapshot(one), never)))
        for (const [creator, snapshots] of Map.groupBy(seen, (one) => one.creator)) {
          const inOrder = snapshots.toSorted((a, b) => a.day - b.day)
          const newest = inOrder.at(-1)!
          const known = inOrder.slice(0, -1).findLast(({ followers }) => followers !== null)
          const stored = await storedOf(engine, creator)
          assert.equal(stored?.ts, sqlTime(START_MS + newest.day * DAY_MS))
          assert.equal(stored?.followers_before, known?.followers ?? null)
          const flags = dropFlags(
            { followers: known?.followers ?? undefined },
            { followers: newest.followers ?? undefined },
          )
          assert.deepEqual(stored?.flags, flags)
        }
      }),
      // A counter-example would be shrunk against the engine for minutes.
      { numRuns: 6, endOnFailure: true },
    )
  })
}

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
  behaviours(async (t) => {
    const url = need(t, 'clickhouse')
    return url === null ? null : openOwnDatabase(t, url)
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

// The engine binds one folder per process, so all tests share one and differ in their database.
describe('drops on the embedded engine', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-drops-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))
  let databases = 0

  behaviours(async (t) => {
    databases += 1
    const engine = new ChdbEngine({ path: join(folder, 'data'), database: `drops_${databases}` })
    await engine.open()
    t.after(() => engine.close())
    return engine
  })
})
