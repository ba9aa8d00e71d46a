import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Heartbeat } from '../../src/admin/heartbeat.ts'
import { until } from '../until.ts'
import { startAdmin } from './start.ts'

function beating(t: { after(fn: () => void): void }) {
  const clock = { nowMs: 1_000 }
  const heartbeat = new Heartbeat({ standstillMsMax: 10_000, intervalMs: 500, now: () => clock.nowMs })
  heartbeat.start()
  t.after(() => heartbeat.stop())
  return { clock, heartbeat }
}

test('is alive while the loop is late, but within the bound', (t) => {
  const { clock, heartbeat } = beating(t)
  clock.nowMs += 10_500
  assert.deepEqual(heartbeat.check(), { alive: true, standstillMs: 0 })
})

test('reports a stand-still to the first who asks after it', (t) => {
  const { clock, heartbeat } = beating(t)
  clock.nowMs += 42_500
  assert.deepEqual(heartbeat.check(), { alive: false, standstillMs: 42_000 })
})

test('reports it too when the timer ran before the one who asks', (t) => {
  const { clock, heartbeat } = beating(t)
  clock.nowMs += 42_500
  heartbeat.beat()
  clock.nowMs += 500
  heartbeat.beat()
  assert.deepEqual(heartbeat.check(), { alive: false, standstillMs: 42_000 })
})

test('forgives a stand-still after as long as the bound', (t) => {
  const { clock, heartbeat } = beating(t)
  clock.nowMs += 42_500
  heartbeat.beat()
  for (let i = 0; i < 21; i++) {
    clock.nowMs += 500
    heartbeat.beat()
  }
  assert.deepEqual(heartbeat.check(), { alive: true, standstillMs: 0 })
})

test('fails /livez after the loop really stood still, and recovers', async (t) => {
  const url = await startAdmin(t, {}, { standstillMsMax: 2_000 })
  const lives = async () => (await fetch(`${url}/livez`)).status === 200
  await until(lives)

  // More than the bound and a beat together. The request waits meanwhile, as a prober's would. Whoever was held up before, for about
  // as long as the bound, is still forgiven for that: then again.
  let reply: Response
  do {
    const waiting = fetch(`${url}/livez`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_500)
    reply = await waiting
  } while (reply.status === 200)
  assert.equal(reply.status, 503)
  assert.match(
    ((await reply.json()) as { reason: string }).reason,
    /^The event loop stood still for \d+\.\d s\.$/,
  )

  await until(lives)
})
