import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { isPermitLate, PermitLateError } from '../../src/fetch/errors.ts'
import { until } from '../until.ts'
import { engineFor, get, names, never, permit, serve, serveTcp } from './local.ts'

const late = (error: unknown) => error instanceof PermitLateError && error.why === 'late'

test('spends the permit in the same tick, and room says so', async (t) => {
  const { origin } = await serve(t, (_request, response) => response.end())
  const { engine } = engineFor(t, origin, { socketsPerOrigin: 3 })
  assert.equal(engine.room(origin), 3)
  assert.equal(engine.room(`${origin}/a/prefix`), 3)
  const granted = permit()
  const sending = engine.fetch(get(`${origin}/a`), granted, { signal: never })
  assert.equal(granted.spend(0), false, 'it is spent')
  assert.equal(engine.room(origin), 2)
  await sending
  await until(() => engine.room(origin) === 3)
})

test('refuses a permit that is late, tells so, and sends nothing', async (t) => {
  let connections = 0
  const { origin, server } = await serve(t, (_request, response) => response.end())
  server.on('connection', () => {
    connections += 1
  })
  const { engine } = engineFor(t, origin)
  let arrivals = 0
  const sending = engine.fetch(get(`${origin}/a`), permit(performance.now() - 1), {
    signal: never,
    onArrived: () => {
      arrivals += 1
    },
  })
  await assert.rejects(sending, late)
  assert.equal(arrivals, 1, 'it certainly never will arrive')
  await engine.stop()
  assert.equal(connections, 0)
})

test('a permit that becomes late while it waits for a socket is not used', async (t) => {
  const urls: (string | undefined)[] = []
  const { origin } = await serve(t, (request, response) => {
    urls.push(request.url)
    setTimeout(() => response.end(), 150)
  })
  const { engine } = engineFor(t, origin, { socketsPerOrigin: 1 })
  const first = engine.fetch(get(`${origin}/first`), permit(), { signal: never })
  const second = permit(performance.now() + 40)
  await assert.rejects(engine.fetch(get(`${origin}/second`), second, { signal: never }), late)
  await first
  await engine.fetch(get(`${origin}/third`), permit(), { signal: never })
  assert.deepEqual(urls, ['/first', '/third'])
})

test('a permit that becomes late while the connection is made is not used, and the connection is', async (t) => {
  const urls: (string | undefined)[] = []
  let connections = 0
  const { origin, port, server } = await serve(t, (request, response) => {
    urls.push(request.url)
    response.end()
  })
  server.on('connection', () => {
    connections += 1
  })
  const answers = Promise.withResolvers<void>()
  let nowMs = performance.now()
  const known = names({ 'slow.test': ['127.0.0.1'] })
  const service = { ...known, query: (name: string) => answers.promise.then(() => known.query(name)) }
  const there = `http://slow.test:${port}`
  const { engine } = engineFor(
    t,
    there,
    { platformOrigins: [{ origin: there, platform: 'here', private: true }] },
    { names: service, now: () => nowMs },
  )
  assert.ok(origin)
  const first = engine.fetch(get(`${there}/first`), permit(nowMs + 30), { signal: never })
  const refused = assert.rejects(first, late)
  // It connects by now: the permit was good when it began.
  await new Promise(setImmediate)
  nowMs += 31
  await refused
  answers.resolve()
  await until(() => connections === 1 && engine.room(there) === 512)
  await engine.fetch(get(`${there}/second`), permit(), { signal: never })
  assert.deepEqual(urls, ['/second'])
  assert.equal(connections, 1)
})

test('a permit is good for one request', async (t) => {
  const { origin } = await serve(t, (_request, response) => response.end())
  const { engine } = engineFor(t, origin)
  const once = permit()
  await engine.fetch(get(`${origin}/a`), once, { signal: never })
  await assert.rejects(engine.fetch(get(`${origin}/b`), once, { signal: never }), (error) => {
    assert.ok(!isPermitLate(error), 'not to be queued again: it is a bug')
    assert.match(String(error), /spent before/)
    return true
  })
})

test('an aborted request ends with the reason of its signal and frees its socket', async (t) => {
  const { origin } = await serve(t, () => {})
  const { engine } = engineFor(t, origin, { socketsPerOrigin: 2 })
  const aborter = new AbortController()
  const reason = new Error('partition lost')
  const all = Array.from({ length: 5 }, () =>
    engine.fetch(get(`${origin}/a`), permit(), { signal: aborter.signal }),
  )
  assert.equal(engine.room(origin), 0)
  setTimeout(() => aborter.abort(reason), 50)
  for (const each of await Promise.allSettled(all)) {
    assert.ok(each.status === 'rejected' && each.reason === reason)
  }
  await until(() => engine.room(origin) === 2)
  const unspent = permit()
  await assert.rejects(
    engine.fetch(get(`${origin}/a`), unspent, { signal: aborter.signal }),
    (error) => error === reason,
  )
  assert.ok(unspent.spend(0))
})

test('an abort while the connection is made ends both', async (t) => {
  const { port, sockets } = await serveTcp(t, () => {})
  const origin = `https://127.0.0.1:${port}`
  const { engine } = engineFor(t, origin)
  const aborter = new AbortController()
  const sending = engine.fetch(get(`${origin}/a`), permit(), { signal: aborter.signal })
  await until(() => sockets.size === 1)
  aborter.abort()
  await assert.rejects(sending, { name: 'AbortError' })
  await until(() => sockets.size === 0 && engine.room(origin) === 512)
})

/** Two platforms' servers that hold every request until told to answer the oldest. */
async function twoHosts(t: TestContext) {
  const held: { name: string; response: ServerResponse }[] = []
  const seen: string[] = []
  const hold = (name: string) => (_request: unknown, response: ServerResponse) => {
    held.push({ name, response })
    seen.push(name)
  }
  const one = await serve(t, hold('one'))
  const two = await serve(t, hold('two'))
  const platformOrigins = [one, two].map(({ origin }) => ({ origin, platform: 'here', private: true }))
  return { one: one.origin, two: two.origin, platformOrigins, held, seen }
}

test('never has more requests under way than a host may have', async (t) => {
  const { one, two, platformOrigins, held } = await twoHosts(t)
  const { engine } = engineFor(t, one, { platformOrigins, socketsPerOrigin: 3 })
  const origins = [one, two].flatMap((origin) => Array<string>(9).fill(origin))
  const all = origins.map((origin) => engine.fetch(get(origin), permit(), { signal: never }))
  let most = 0
  for (let answered = 0; answered < all.length; answered += 1) {
    await until(() => held.length === Math.min(6, all.length - answered) || held.length > 6)
    most = Math.max(most, held.length)
    held.shift()?.response.end()
  }
  await Promise.all(all)
  assert.equal(most, 6)
})

test('never has more requests under way than allowed in all, and serves hosts in turn', async (t) => {
  const { one, two, platformOrigins, held, seen } = await twoHosts(t)
  const { engine } = engineFor(t, one, { platformOrigins, inFlightMax: 4 })
  const origins = [one, one, one, one, one, one, one, two]
  const all = origins.map((origin) => engine.fetch(get(origin), permit(), { signal: never }))
  for (let answered = 0; answered < all.length; answered += 1) {
    await until(() => held.length === Math.min(4, all.length - answered))
    held.shift()?.response.end()
  }
  await Promise.all(all)
  assert.equal(seen.indexOf('two'), 5, 'behind one that waited longer, before two that did, too')
})

test('as many as may be under way may wait, and no more', async (t) => {
  const { origin } = await serve(t, () => {})
  const { engine } = engineFor(t, origin, { inFlightMax: 2 })
  const aborter = new AbortController()
  const held = Array.from({ length: 4 }, () =>
    engine.fetch(get(`${origin}/a`), permit(), { signal: aborter.signal }),
  )
  await assert.rejects(engine.fetch(get(`${origin}/a`), permit(), { signal: never }), {
    reason: 'timeout',
    message: /2 requests wait/,
  })
  aborter.abort()
  await Promise.allSettled(held)
})

test('a request that was written and then given up is not said to have arrived: it may still be counted', async (t) => {
  let seen = () => {}
  const asked = new Promise<void>((resolve) => {
    seen = resolve
  })
  const { origin } = await serve(t, () => seen())
  const { engine } = engineFor(t, origin)
  const aborter = new AbortController()
  let arrivals = 0
  const sending = engine.fetch(get(`${origin}/a`), permit(), {
    signal: aborter.signal,
    onArrived: () => {
      arrivals += 1
    },
  })
  await asked
  aborter.abort(new Error('given up'))
  await assert.rejects(sending, /given up/)
  assert.equal(arrivals, 0)
  await engine.stop()
})
