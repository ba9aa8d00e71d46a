import assert from 'node:assert/strict'
import { after, describe, type TestContext, test } from 'node:test'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { type Engine, select } from '../../src/timeseries/engine.ts'
import { migrate, planMigration } from '../../src/timeseries/migrate.ts'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { TimeSeriesSink } from '../../src/timeseries/row-sink.ts'
import { fillDisk, freeDisk } from '../timeseries/full-disk.ts'
import { count, DAY_MS, jobRows, never, point, silent } from '../timeseries/support.ts'
import { until } from '../until.ts'
import { momentsContract } from './rows/moments.ts'
import { numbersContract } from './rows/numbers.ts'
import { retentionContract } from './rows/retention.ts'
import type { ContractTest } from './rows/suite.ts'
import { textsContract } from './rows/texts.ts'

export interface RowsUnderTest {
  /** The engine, open, with a database of the contract's own; null when the test was skipped. Called by every test. */
  open(t: TestContext): Promise<Engine | null>
  /** After the last one. */
  close(): Promise<void>
}

/** What the sink of rows must do over either engine. */
export function rowsContract(name: string, under: RowsUnderTest): void {
  let started: Promise<TimeSeriesSink> | undefined
  const start = async (engine: Engine) => {
    const sink = new TimeSeriesSink({
      ...{ engine, metrics: createMetrics(), log: silent },
      ...{ limits: { ageMs: 5 }, keepEngineOpen: true },
    })
    await sink.start()
    return sink
  }
  const contractTest: ContractTest = (behaviour, body) => {
    test(behaviour, async (t) => {
      const engine = await under.open(t)
      if (engine === null) return
      started ??= start(engine)
      const sink = await started
      await body(engine, (rows) => sink.write(rows, never), sink)
    })
  }

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

    numbersContract(contractTest)
    textsContract(contractTest)
    momentsContract(contractTest)
    retentionContract(contractTest)

    contractTest(
      'acknowledges nothing while its disk has no room, and goes on when it has',
      async (engine, write, sink) => {
        await fillDisk(engine, ['points'])
        let acknowledged = false
        const job = write(jobRows('full', [point('followers', 1)])).then(() => {
          acknowledged = true
        })
        try {
          await until(() => !sink.healthy, 'the sink says that inserts fail')
          assert.equal(acknowledged, false)
        } finally {
          await freeDisk(engine, ['points'])
        }
        await job
        assert.equal(sink.healthy, true)
        assert.equal(await count(engine, `points FINAL WHERE job_id = 'full'`), 1)
      },
    )

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
