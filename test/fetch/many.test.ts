import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { until } from '../until.ts'
import { engineFor, get, metricValue, permit } from './local.ts'

const REQUESTS = 2_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('holds 2,000 slow requests at once in bounded memory', async (t) => {
  const child = fork(new URL('./slow-server.ts', import.meta.url), [String(REQUESTS)])
  t.after(() => child.kill())
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const origin = `http://127.0.0.1:${port}`
  const { engine, metrics } = engineFor(t, origin, { socketsPerOrigin: REQUESTS })
  const { signal } = new AbortController()

  const used = () => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = used()
  const allHeld = once(child, 'message')
  const sending: Promise<number>[] = []
  for (let index = 0; index < REQUESTS; index += 1) {
    const granted = permit(performance.now() + 300_000)
    sending.push(
      engine.fetch(get(`${origin}/creator/${index}`), granted, { signal }).then(({ status }) => status),
    )
    // As lanes do: a batch at a time, not 2,000 connects in one tick.
    if (index % 50 === 49) await new Promise(setImmediate)
  }
  assert.equal(engine.room(origin), 0)
  await allHeld
  const each = (used() - before) / REQUESTS
  assert.ok(each < 20_000, `${Math.round(each)} bytes a request, expected at most 20,000`)

  const counted = () => metricValue(metrics, 'fetches_in_flight', { platform: 'here' })
  await until(async () => (await counted()) === REQUESTS, 'the gauge to tell all of them')

  child.send('answer')
  const statuses = await Promise.all(sending)
  assert.ok(statuses.every((status) => status === 200))
  assert.equal(statuses.length, REQUESTS)
  t.diagnostic(`${Math.round(each)} bytes a request`)
})
