import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { until } from '../until.ts'
import { engineFor, get, never, permit, serve } from './local.ts'

test('waits for what is under way, then leaves no socket open', async (t) => {
  const { origin, sockets } = await serve(t, (request, response) => {
    setTimeout(() => response.end('late'), request.url === '/slow' ? 150 : 0)
  })
  const { engine } = engineFor(t, origin)
  await Promise.all(
    Array.from({ length: 5 }, () => engine.fetch(get(`${origin}/quick`), permit(), { signal: never })),
  )
  const slow = engine.fetch(get(`${origin}/slow`), permit(), { signal: never })
  await until(() => engine.room(origin) < 512)
  let stopped = false
  const stopping = engine.stop().then(() => {
    stopped = true
  })
  assert.equal(engine.room(origin), 0)
  await assert.rejects(engine.fetch(get(origin), permit(), { signal: never }), { reason: 'connection' })
  assert.equal((await slow).body.toString(), 'late')
  assert.ok(!stopped)
  await stopping
  await until(() => sockets.size === 0)
  await engine.stop()
})

test('fails what is left when the deadline comes, and leaves nothing open', async (t) => {
  const { origin, server, sockets } = await serve(t, () => {})
  const { engine } = engineFor(t, origin, { socketsPerOrigin: 2 })
  const sending = Array.from({ length: 4 }, () =>
    engine.fetch(get(`${origin}/a`), permit(), { signal: never }),
  )
  const results = Promise.allSettled(sending)
  if (sockets.size === 0) await once(server, 'connection')
  const deadline = new AbortController()
  const stopping = engine.stop(deadline.signal)
  deadline.abort()
  for (const each of await results) {
    assert.ok(each.status === 'rejected')
    assert.equal(each.reason.reason, 'connection')
    assert.match(each.reason.message, /the daemon stops/)
  }
  await stopping
  await until(() => sockets.size === 0)
})

test('a second stop may bring the deadline forward', async (t) => {
  const { origin } = await serve(t, () => {})
  const { engine } = engineFor(t, origin)
  const sending = engine.fetch(get(`${origin}/a`), permit(), { signal: never })
  const patient = engine.stop(new AbortController().signal)
  await Promise.all([assert.rejects(sending), patient, engine.stop(AbortSignal.abort())])
})

test('keeps nothing alive: a process that has fetched ends by itself', async (t) => {
  const { origin } = await serve(t, (_request, response) => response.end('x'))
  const child = fork(new URL('./one-fetch.ts', import.meta.url), [origin])
  t.after(() => child.kill())
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})
