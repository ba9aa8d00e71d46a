import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EventLoopMonitor } from '../../src/telemetry/event-loop.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { poll } from '../services/poll.ts'
import { until } from '../until.ts'

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** Waits until the reading has seen a delay of so many milliseconds. */
function seen(monitor: EventLoopMonitor, ms: number): Promise<true> {
  const ask = () => (monitor.read().maxMs >= ms ? true : undefined)
  return poll<true>(ask, { withinMs: 60_000, what: `a delay of ${ms} ms is not in the reading` })
}

test('reports how late the loop was, and not the sampling period', async (t) => {
  const monitor = new EventLoopMonitor({ metrics: createMetrics() })
  monitor.start()
  t.after(() => monitor.stop())
  // A delay is measured from one look to the next: there has to be one.
  await sleep(200)
  await until(() => monitor.read().p50Ms < 8, 'an idle loop that is not late')
  standStill(300)
  await seen(monitor, 200)
  assert.ok(monitor.read().maxMs < 60_000)
})

test('hides a spike from nobody: a second reading tells it too', async (t) => {
  const metrics = createMetrics()
  const monitor = new EventLoopMonitor({ metrics })
  monitor.start()
  t.after(() => monitor.stop())
  await sleep(20)
  standStill(300)
  await seen(monitor, 200)
  monitor.record()
  monitor.record()
  const { values } = await metrics.event_loop_delay_seconds.get()
  assert.deepEqual(
    values.map((value) => value.labels.stat),
    ['p50', 'p99', 'max'],
  )
  assert.ok(values[2]!.value >= 0.2)
})

test('forgets a spike after two windows', async (t) => {
  const monitor = new EventLoopMonitor({ metrics: createMetrics(), windowMs: 500 })
  monitor.start()
  t.after(() => monitor.stop())
  await sleep(20)
  standStill(400)
  await seen(monitor, 300)
  while (monitor.read().maxMs >= 300) await sleep(20)
})

test('may be started and stopped twice, and reads nothing while stopped', () => {
  const monitor = new EventLoopMonitor({ metrics: createMetrics() })
  monitor.stop()
  monitor.start()
  monitor.start()
  monitor.stop()
  monitor.stop()
  assert.deepEqual(monitor.read(), { p50Ms: 0, p99Ms: 0, maxMs: 0 })
})
