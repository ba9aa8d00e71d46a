import assert from 'node:assert/strict'
import { after, describe, type TestContext, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { type JobRows, type Row, RowsRejectedError } from '../../src/job/row.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { type Engine, execute, select, sqlTime } from '../../src/timeseries/engine.ts'
import { migrate, planMigration } from '../../src/timeseries/migrate.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { TimeSeriesSink } from '../../src/timeseries/row-sink.ts'
import { count, DAY_MS, jobRows, never, point, START_MS, silent, until } from '../timeseries/support.ts'

export interface RowsUnderTest {
  /** The engine, open, with a database of the contract's own; null when the test was skipped. Called by every test. */
  open(t: TestContext): Promise<Engine | null>
  /** After the last one. */
  close(): Promise<void>
}

const FACTS = { name: '', handle: '', biography: '', email: '', pictureUrl: '' }
const CREATOR = { table: 'creators', ...FACTS, verified: false, gone: false, flags: [] } as const
const MEDIA = { table: 'media', mediaId: 'm', kind: '', title: '', url: '', publishedAtMs: 0 } as const

/** Numbers as platforms send them, at the edges of what a double holds exactly. */
const NUMBERS = [
  ...[0, -0, 1, -1, 0.1 + 0.2, -273.15, 1e-7, 5e-324, 1.5, 4_294_967_296],
  ...[Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER],
]
const REFUSED_NUMBERS: readonly unknown[] = [
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  // The first of which no double knows whether it is itself; an adapter that took it from JSON may have had its neighbour.
  ...[2 ** 53, -(2 ** 53), 1e300, 9_007_199_254_740_993n],
  ...[null, undefined, '5', true],
]

/** Texts that parsers stumble over. */
const TEXTS = {
  empty: '',
  emoji: '👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☃',
  nul: 'before\u0000after',
  controls: '\u0001\u0008\t\n\r\u001f\u007f\u0085',
  marks: '\u2028\u2029\ufeff\u200f\u202eabc',
  quotes: `'"\`\\ \\n \\N {x:String} -- ; /* */ ,] [ null NULL`,
  arabic: 'مرحبا بالعالم',
  'ten kilobytes': 'Biographie 🎬 '.repeat(700),
  'a hundred': 'x'.repeat(100_000),
}

/** What the sink of rows must do over either engine. */
export function rowsContract(name: string, under: RowsUnderTest): void {
  let started: Promise<TimeSeriesSink> | undefined
  const start = async (engine: Engine) => {
    const limits = { ageMs: 5 }
    const sink = new TimeSeriesSink({
      engine,
      metrics: createMetrics(),
      log: silent,
      limits,
      keepEngineOpen: true,
    })
    await sink.start()
    return sink
  }
  const contractTest = (
    behaviour: string,
    body: (engine: Engine, write: (rows: JobRows) => Promise<void>, sink: TimeSeriesSink) => Promise<void>,
  ) =>
    test(behaviour, async (t) => {
      const engine = await under.open(t)
      if (engine === null) return
      started ??= start(engine)
      const sink = await started
      await body(engine, (rows) => sink.write(rows, never), sink)
    })

  describe(`${name} as a sink of rows`, () => {
    after(async () => {
      await (await started)?.stop()
      await under.close()
    })

    contractTest('is migrated by its start, with nothing left to plan', async (engine) => {
      assert.deepEqual(await migrate(engine), [])
      const { steps, version, newest } = await planMigration(engine, engine)
      assert.deepEqual([steps, version], [[], newest])
    })

    contractTest('resolves a write only when its rows can be read', async (engine, write) => {
      await Promise.all(
        Array.from({ length: 10 }, async (_, n) => {
          await write(jobRows(`read${n}`, [point('followers', n), point('posts', 1)]))
          assert.equal(await count(engine, `points WHERE job_id = 'read${n}'`), 2)
        }),
      )
    })

    contractTest('stores numbers as they are', async (engine, write) => {
      const rows = NUMBERS.map((value, n) => point(`n${n}`, value))
      await write(
        jobRows('numbers', [
          ...rows,
          ...rows.map((row) => ({ ...row, table: 'media_points', mediaId: 'm' }) as Row),
        ]),
      )
      for (const table of ['points', 'media_points']) {
        const read = await select<{ metric: string; value: number }>(
          engine,
          `SELECT metric, value FROM ${table} FINAL WHERE job_id = 'numbers' ORDER BY toUInt8(substring(metric, 2))`,
        )
        // A zero has no sign in JSON.
        assert.deepEqual(
          read.map(({ value }) => value),
          NUMBERS.map((value) => value + 0),
        )
      }
    })

    contractTest(
      'refuses numbers that it would store as others, and stores nothing of their job',
      async (engine, write) => {
        for (const [n, value] of REFUSED_NUMBERS.entries()) {
          const rows = [point('posts', 1), { table: 'points', metric: 'followers', value } as Row]
          const refused = { name: 'RowsRejectedError', message: /expected a finite number below 2\^53/ }
          await assert.rejects(write(jobRows(`refused${n}`, rows)), refused, String(value))
        }
        assert.equal(await count(engine, `points WHERE startsWith(job_id, 'refused')`), 0)
      },
    )

    contractTest('keeps followers that are hidden apart from none', async (engine, write) => {
      await write(jobRows('none', [point('followers', 0), CREATOR]))
      await write(jobRows('hidden', [CREATOR]))
      const read = await select(
        engine,
        `SELECT job_id, followers FROM creators FINAL WHERE job_id IN ('none', 'hidden') ORDER BY job_id`,
      )
      assert.deepEqual(read, [
        { job_id: 'hidden', followers: null },
        { job_id: 'none', followers: 0 },
      ])
    })

    contractTest(
      'stores every text as it is, where people wrote it and where it is an id',
      async (engine, write) => {
        await Promise.all(
          Object.entries(TEXTS).map(([what, text]) =>
            write({
              ...jobRows(`text ${what}`, [
                {
                  ...CREATOR,
                  name: text,
                  handle: text,
                  biography: text,
                  email: text,
                  pictureUrl: text,
                  flags: [text],
                },
                { ...MEDIA, mediaId: text, kind: text, title: text, url: text },
                point(text, 1),
              ]),
              creatorId: `${what} ${text}`,
            }),
          ),
        )
        for (const [what, text] of Object.entries(TEXTS)) {
          const of = async (columns: string, table: string) =>
            (
              await select<Record<string, unknown>>(
                engine,
                `SELECT ${columns} FROM ${table} FINAL WHERE job_id = 'text ${what}'`,
              )
            )[0]
          const id = `${what} ${text}`
          assert.deepEqual(
            await of('creator_id, name, handle, biography, email, picture_url, flags', 'creators'),
            {
              ...{
                creator_id: id,
                name: text,
                handle: text,
                biography: text,
                email: text,
                picture_url: text,
              },
              flags: [text],
            },
          )
          assert.deepEqual(await of('creator_id, media_id, kind, title, url', 'media'), {
            ...{ creator_id: id, media_id: text, kind: text, title: text, url: text },
          })
          assert.deepEqual(await of('creator_id, metric', 'points'), { creator_id: id, metric: text })
        }
      },
    )

    contractTest(
      'mends half a surrogate pair in prose, and refuses it in what has to be found again',
      async (engine, write, sink) => {
        await write(
          jobRows('cut', [
            { ...CREATOR, biography: 'cut \ud83d' },
            { ...MEDIA, title: '\udc4d cut' },
          ]),
        )
        const [bio] = await select(engine, `SELECT biography FROM creators FINAL WHERE job_id = 'cut'`)
        const [title] = await select(engine, `SELECT title FROM media FINAL WHERE job_id = 'cut'`)
        assert.deepEqual([bio, title], [{ biography: 'cut \ufffd' }, { title: '\ufffd cut' }])
        const bad: Row[] = [
          point('cut \ud83d', 1),
          { ...MEDIA, mediaId: '\ud83d' },
          { ...CREATOR, flags: ['\udc4d'] },
        ]
        // Beside good ones in one batch, which must not suffer.
        const ends = await Promise.allSettled([
          ...bad.map((row, n) => write(jobRows(`half${n}`, [row]))),
          ...[0, 1, 2].map((n) => write(jobRows(`whole${n}`, [point('followers', n), MEDIA, CREATOR]))),
        ])
        assert.deepEqual(
          ends.map(({ status }) => status),
          [...bad.map(() => 'rejected'), ...[0, 1, 2].map(() => 'fulfilled')],
        )
        for (const end of ends)
          if (end.status === 'rejected') assert.ok(end.reason instanceof RowsRejectedError)
        assert.equal(await count(engine, `creators FINAL WHERE startsWith(job_id, 'whole')`), 3)
        assert.equal(sink.healthy, true)
      },
    )

    contractTest(
      'refuses what plain JavaScript may pass for a text, a flag or a moment',
      async (_, write) => {
        const wrong: readonly Row[] = [
          { ...CREATOR, name: undefined as never },
          { ...CREATOR, verified: null as never },
          { ...CREATOR, flags: [7 as never] },
          { ...MEDIA, mediaId: 7 as never },
          { ...MEDIA, publishedAtMs: null as never },
          { ...MEDIA, publishedAtMs: Number.NaN },
          { ...MEDIA, publishedAtMs: Date.UTC(1969, 11, 31) },
          { ...MEDIA, publishedAtMs: Date.UTC(2100, 0) },
          { table: 'points', metric: undefined as never, value: 1 },
        ]
        for (const row of wrong) await assert.rejects(write(jobRows('wrong', [row])), RowsRejectedError)
      },
    )

    contractTest(
      'stores moments to the millisecond from 1970 to 2099, and refuses those it could not',
      async (engine, write) => {
        // `media` keeps its newest for ever: the retention of numbers would delete old ones at once.
        const moments = [
          0,
          1,
          999,
          1_000,
          Date.UTC(1999, 11, 31, 23, 59, 59, 999),
          Date.UTC(2038, 0, 19, 3, 14, 8, 7),
          Date.UTC(2100, 0) - 1,
        ]
        await Promise.all(
          moments.map((ms, n) =>
            write(jobRows(`moment${n}`, [{ ...MEDIA, publishedAtMs: ms }], { tsMs: ms, observedAtMs: ms })),
          ),
        )
        const read = await select<{ ts: string; observed_at: string; published_at: string }>(
          engine,
          `SELECT ts, observed_at, published_at FROM media FINAL WHERE startsWith(job_id, 'moment') ORDER BY job_id`,
        )
        const second = (ms: number) => sqlTime(ms).slice(0, 19)
        const stored = moments.map((ms) => ({
          ts: sqlTime(ms),
          observed_at: second(ms),
          published_at: second(ms),
        }))
        assert.deepEqual(read, stored)
        for (const ms of [-1, Date.UTC(1969, 0), Date.UTC(2100, 0), Date.UTC(2150, 0), 8.64e15, Number.NaN]) {
          const rows = [point('followers', 1)]
          await assert.rejects(
            write(jobRows('beyond', rows, { tsMs: ms, observedAtMs: START_MS })),
            RowsRejectedError,
          )
          await assert.rejects(
            write(jobRows('beyond', rows, { tsMs: START_MS, observedAtMs: ms })),
            RowsRejectedError,
          )
        }
      },
    )

    contractTest('keeps the numbers of the last moment there is', async (engine, write) => {
      const tsMs = Date.UTC(2100, 0) - 1
      await write(jobRows('last', [point('followers', 1)], { tsMs, observedAtMs: tsMs }))
      await execute(engine, 'OPTIMIZE TABLE points FINAL')
      assert.equal(await count(engine, `points FINAL WHERE job_id = 'last'`), 1)
      assert.equal(
        await count(engine, `points_daily FINAL WHERE creator_id = 'creator-last' AND day = '2099-12-31'`),
        1,
      )
    })

    contractTest('deletes what is older than its table keeps, and nothing younger', async (engine, write) => {
      const job = {
        table: 'jobs',
        jobType: 'p',
        status: 'done',
        reason: '',
        attempts: 1,
        durationMs: 1,
      } as const
      const numbers = [
        point('followers', 1),
        { table: 'media_points', mediaId: 'm', metric: 'likes', value: 1 } as const,
      ]
      const at = (days: number, rows: readonly Row[]) =>
        write(jobRows(`age${days}`, rows, { creatorId: 'aged', tsMs: Date.now() - days * DAY_MS }))
      await Promise.all([at(434, numbers), at(398, numbers), at(62, [job]), at(32, [job]), at(29, [job])])
      const kept = async () => {
        for (const table of ['points', 'media_points', 'jobs'])
          await execute(engine, `OPTIMIZE TABLE ${table} FINAL`)
        const read = ['points', 'media_points', 'jobs'].map((table) =>
          select<{ ages: string[] }>(
            engine,
            `SELECT arraySort(groupArray(job_id)) AS ages FROM ${table} FINAL WHERE creator_id = 'aged'`,
          ),
        )
        return (await Promise.all(read)).map(([row]) => row?.ages)
      }
      await until(
        async () => isDeepStrictEqual(await kept(), [['age398'], ['age398'], ['age29']]),
        'old rows go',
      )
      // The roll-up has the day all the same.
      assert.equal(await count(engine, `points_daily FINAL WHERE creator_id = 'aged'`), 2)

      assert.deepEqual(await migrate(engine, { retention: { points: 60, daily: 410, jobs: 'forever' } }), [
        'retention',
      ])
      await at(90, [job])
      await at(50, numbers)
      await at(90, numbers)
      // The parts that are there learn of the new age in the background.
      const expected = [['age50'], ['age50'], ['age29', 'age90']]
      await until(async () => isDeepStrictEqual(await kept(), expected), 'older rows go')
      await until(async () => {
        await execute(engine, 'OPTIMIZE TABLE points_daily FINAL')
        return (await count(engine, `points_daily FINAL WHERE creator_id = 'aged'`)) === 3
      }, 'the oldest day goes')
      // Once it is so, there is nothing to do; what is not named stays as it is.
      assert.deepEqual(await migrate(engine, { retention: { points: 60, daily: 410, jobs: 'forever' } }), [])
      assert.deepEqual(await migrate(engine, { retention: {} }), [])
      assert.deepEqual(await migrate(engine), [])
      assert.deepEqual(
        await migrate(engine, { retention: { points: 'forever', daily: 'forever', jobs: 30 } }),
        ['retention'],
      )
      const { steps } = await planMigration(engine, engine, { retention: { points: 'forever', jobs: 30 } })
      assert.deepEqual(steps, [])
    })

    contractTest('reads as if each row had come once', async (engine, write) => {
      // A platform no other test writes to: what refreshes by itself may have counted theirs already.
      const own = `WHERE platform = 'again'`
      const jobs = [0, 1, 2].map((day) =>
        jobRows(`again${day}`, [point('followers', 100 + day * 10)], {
          platform: 'again',
          creatorId: 'again',
          tsMs: Math.floor(Date.now() / DAY_MS) * DAY_MS - (3 - day) * DAY_MS + 123,
        }),
      )
      for (const job of [...jobs, ...jobs.toReversed()]) await write(job)
      assert.equal(await count(engine, `points FINAL ${own}`), 3)
      await refreshViews(engine)
      assert.deepEqual(await select(engine, `SELECT absolute FROM growth_7d ${own}`), [{ absolute: 20 }])
      assert.equal(await count(engine, `platform_daily ${own}`), 3)
    })
  })
}
