import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PermitLateError } from '../../src/fetch/errors.ts'
import { until } from '../until.ts'
import { engineFor, get, metricValue, never, permit, serve } from './local.ts'

test('a host that fails is paused, probed one call at a time, and taken up again', async (t) => {
  const clock = { nowMs: 0 }
  const now = () => clock.nowMs
  let status = 503
  let requests = 0
  const { origin } = await serve(t, (_request, response) => {
    requests += 1
    setTimeout(() => response.writeHead(status).end(), 5)
  })
  const other = await serve(t, (_request, response) => response.end())
  const changes: unknown[] = []
  const { engine, metrics } = engineFor(
    t,
    origin,
    {
      platformOrigins: [
        { origin, platform: 'here', private: true },
        { origin: `${origin}/other`, platform: 'beside', private: true },
        { origin: other.origin, platform: 'there', private: true },
      ],
      onBreaker: (change) => changes.push(change),
    },
    { now },
  )
  // On the engine's clock, which stands still but for what the test says: a probe is not due by itself.
  const call = (url: string) => engine.fetch(get(url), permit(now() + 60_000), { signal: never })
  assert.equal(await metricValue(metrics, 'breaker_open', { platform: 'here' }), 0)
  await Promise.all(Array.from({ length: 20 }, () => call(origin)))
  assert.deepEqual(changes, [{ origin, platform: 'here', open: true }])
  for (const platform of ['here', 'beside'])
    assert.equal(await metricValue(metrics, 'breaker_open', { platform }), 1, platform)
  assert.equal(await metricValue(metrics, 'breaker_open', { platform: 'there' }), 0)
  assert.equal(engine.room(origin), 0)
  const probeInMs = engine.probeInMs(origin) ?? 0
  assert.ok(probeInMs > 0 && probeInMs <= 5_000)
  assert.equal(engine.probeInMs(other.origin), 0)
  assert.equal(engine.room(other.origin), 512, "one host's trouble stays there")
  assert.equal((await call(other.origin)).status, 200)

  const unspent = permit(now() + 60_000)
  await assert.rejects(
    engine.fetch(get(origin), unspent, { signal: never }),
    (error) => error instanceof PermitLateError && error.why === 'breaker_open',
  )
  assert.ok(unspent.spend(0), 'nothing failed, and nothing was spent')
  assert.equal(requests, 20)

  clock.nowMs += 5_000
  assert.equal(engine.room(origin), 1)
  const probe = call(origin)
  assert.equal(engine.room(origin), 0)
  assert.equal(engine.probeInMs(origin), undefined)
  assert.equal((await probe).status, 503)
  assert.equal(engine.room(origin), 0)

  status = 200
  clock.nowMs += 5_000
  assert.equal((await call(origin)).status, 200)
  assert.deepEqual(changes[1], { origin, platform: 'here', open: false })
  await until(() => engine.room(origin) === 512)
  for (const platform of ['here', 'beside'])
    assert.equal(await metricValue(metrics, 'breaker_open', { platform }), 0, platform)
})

test('failures to connect and time-outs open it; aborts, refusals and 4xx do not', async (t) => {
  let behaviour: 'hang' | 'refuse' | 'break' = 'refuse'
  const { origin } = await serve(t, (_request, response) => {
    if (behaviour === 'refuse') response.writeHead(429).end()
    else if (behaviour === 'break') response.destroy()
  })
  const { engine } = engineFor(t, origin, {}, { now: () => 0 })
  const call = (signal = never) =>
    Promise.allSettled(
      Array.from({ length: 25 }, () => engine.fetch(get(origin), permit(60_000), { signal })),
    )
  await call()
  behaviour = 'hang'
  await call(AbortSignal.timeout(50))
  await until(() => engine.room(origin) === 512)
  behaviour = 'break'
  await call()
  // 25 replies against 25 failures are exactly half.
  await until(() => engine.room(origin) === 512)
  await call()
  assert.equal(engine.room(origin), 0)
})

test('downloads from a host that fails end at once', async (t) => {
  const { origin, port } = await serve(t, (_request, response) => response.destroy())
  const options = { allowPrivate: [`127.0.0.1:${port}`] }
  const { engine } = engineFor(t, 'https://api.test', options, { now: () => 0 })
  const download = () => engine.download(new URL(origin), { signal: never, bodyBytesMax: 10 })
  await Promise.allSettled(Array.from({ length: 20 }, download))
  await assert.rejects(download(), { reason: 'connection', message: /not called at present/ })
})
