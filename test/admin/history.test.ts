import assert from 'node:assert/strict'
import { test } from 'node:test'
import { History } from '../../src/admin/history.ts'

function counting(options: { pointsMax?: number } = {}) {
  const reading = { counters: { done: 0 }, gauges: { waiting: 0 } }
  return { reading, history: new History(() => structuredClone(reading), { stepMs: 1_000, ...options }) }
}

test('makes rates of counters, and leaves gauges as they are', async () => {
  const { reading, history } = counting()
  await history.look(10_000)
  assert.deepEqual(history.report.rows, [], 'the first reading only begins the counting')
  reading.counters.done = 30
  reading.gauges.waiting = 7
  await history.look(12_000)
  assert.deepEqual(history.last, { at: 12_000, values: { done: 15, waiting: 7 } })
  assert.deepEqual(history.report, {
    ...{ stepMs: 1_000, points: 180, names: ['done', 'waiting'] },
    rows: [[12_000, 15, 7]],
  })
})

test('keeps no more points than it may', async () => {
  const { history } = counting({ pointsMax: 3 })
  for (let second = 0; second < 10; second++) await history.look(second * 1_000)
  assert.deepEqual(
    history.report.rows.map(([at]) => at),
    [7_000, 8_000, 9_000],
  )
})

test('a reading that fails leaves a gap, and the next one is right again', async () => {
  let fails = false
  let done = 0
  const history = new History(() => {
    if (fails) throw new Error('out of order')
    return { counters: { done }, gauges: {} }
  })
  await history.look(0)
  fails = true
  await history.look(1_000)
  assert.deepEqual(history.report.rows, [])
  fails = false
  done = 20
  await history.look(2_000)
  assert.equal(history.last?.values.done, 10)
})

test('a counter that fell is no rate below zero', async () => {
  const { reading, history } = counting()
  reading.counters.done = 50
  await history.look(0)
  reading.counters.done = 10
  await history.look(1_000)
  assert.equal(history.last?.values.done, 0)
})
