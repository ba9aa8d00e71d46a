import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Standstill } from '../../src/simulator/standstill.ts'
import { until } from '../until.ts'

const HELD_MS = 400

test('after a standstill everything may have waited for all of it, until the event loop has caught up', async (t) => {
  const standstill = new Standstill()
  assert.equal(standstill.waitedMs(), 0)
  standstill.start()
  t.after(() => standstill.stop())
  const endMs = performance.now() + HELD_MS
  while (performance.now() < endMs);
  assert.ok(standstill.waitedMs() >= HELD_MS, 'at once')
  // Sockets are looked at before this; whether its timer comes before depends on where in its turn the event loop is.
  await new Promise(setImmediate)
  assert.ok(standstill.waitedMs() >= HELD_MS, 'while they are handed over')
  await until(() => standstill.waitedMs() === 0)
})
