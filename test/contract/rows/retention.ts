import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { Row } from '../../../src/job/row.ts'
import { execute, select } from '../../../src/timeseries/engine.ts'
import { migrate, planMigration } from '../../../src/timeseries/migrate.ts'
import { count, DAY_MS, jobRows, point } from '../../timeseries/support.ts'
import { until } from '../../until.ts'
import type { ContractTest } from './suite.ts'

/** How long rows are kept. */
export function retentionContract(contractTest: ContractTest): void {
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
}
