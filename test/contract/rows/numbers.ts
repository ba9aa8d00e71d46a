import assert from 'node:assert/strict'
import type { Row } from '../../../src/job/row.ts'
import { select } from '../../../src/timeseries/engine.ts'
import { count, jobRows, point } from '../../timeseries/support.ts'
import { type ContractTest, CREATOR } from './suite.ts'

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

/** Numbers arrive as they are, or not at all. */
export function numbersContract(contractTest: ContractTest): void {
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
}
