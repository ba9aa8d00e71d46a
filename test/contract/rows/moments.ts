import assert from 'node:assert/strict'
import { RowsRejectedError } from '../../../src/job/row.ts'
import { execute, select, sqlTime } from '../../../src/timeseries/engine.ts'
import { count, jobRows, point, START_MS } from '../../timeseries/support.ts'
import { type ContractTest, MEDIA } from './suite.ts'

/** Moments arrive as they are, or not at all. */
export function momentsContract(contractTest: ContractTest): void {
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
}
