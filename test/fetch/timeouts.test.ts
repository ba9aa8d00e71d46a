import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { AttemptError } from '../../src/job/errors.ts'
import { until } from '../until.ts'
import { engineFor, get, metricValue, names, never, permit, serve, serveTcp } from './local.ts'

function timedOut(pattern: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof AttemptError)
    assert.equal(error.reason, 'timeout')
    assert.match(error.message, pattern)
    return true
  }
}

/** Runs it and sees that it took so long at least; that it is not much more, only a quiet machine could show. */
async function takes(ms: number, run: () => Promise<void>): Promise<void> {
  const startMs = performance.now()
  await run()
  const tookMs = performance.now() - startMs
  assert.ok(tookMs >= ms - 5, `took ${tookMs} ms, expected ${ms}`)
}

test('a connection that is not made in time ends: TLS that nobody answers', async (t) => {
  const { port, sockets } = await serveTcp(t, () => {})
  const { engine } = engineFor(t, `https://127.0.0.1:${port}`, { connectTimeoutMs: 150 })
  await takes(150, async () => {
    await assert.rejects(
      engine.fetch(get(`https://127.0.0.1:${port}/a`), permit(), { signal: never }),
      timedOut(/no connection within 150 ms/),
    )
  })
  await until(() => sockets.size === 0)
  await until(() => engine.room(`https://127.0.0.1:${port}`) === 512)
})

test('a look-up that nobody answers counts as connecting', async (t) => {
  const service = { query: () => new Promise<never>(() => {}), close: () => {} }
  const { engine } = engineFor(t, 'http://api.test', { connectTimeoutMs: 100 }, { names: service })
  await takes(100, async () => {
    await assert.rejects(
      engine.fetch(get('http://api.test/a'), permit(), { signal: never }),
      timedOut(/no connection within/),
    )
  })
})

test('headers that do not come in time end it', async (t) => {
  const { origin } = await serve(t, () => {})
  const { engine, metrics } = engineFor(t, origin, { readTimeoutMs: 150 })
  await takes(150, async () => {
    await assert.rejects(
      engine.fetch(get(`${origin}/a`), permit(), { signal: never }),
      timedOut(/no reply within 150 ms/),
    )
  })
  const labels = { platform: 'here', endpoint: 'things', status: 'error' }
  assert.equal(await metricValue(metrics, 'fetch_duration_seconds_count', labels), 1)
})

test('a reply that lies unread because the loop was held up is not late', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-unread-'))
  const answered = join(folder, 'answered')
  const child = fork(new URL('./slow-server.ts', import.meta.url), ['1', answered])
  t.after(() => {
    child.kill()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const origin = `http://127.0.0.1:${port}`
  let nowMs = 1_000
  const { engine } = engineFor(t, origin, { readTimeoutMs: 2_000 }, { now: () => nowMs })
  const sending = engine.fetch(get(`${origin}/a`), permit(nowMs + 60_000), { signal: never })
  await once(child, 'message')
  child.send('answer')
  // Blocks this thread, and leaves the processor to the child, until the reply is out.
  const hold = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  for (let turn = 0; turn < 6_000 && !existsSync(answered); turn += 1) hold(10)
  assert.ok(existsSync(answered), 'it has answered')
  nowMs += 4_000
  // So that the next sweep is due, and comes before the socket is looked at.
  hold(500)
  assert.equal((await sending).status, 200)
})

test('a body that stops coming ends it', async (t) => {
  const { origin } = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('a beginning')
  })
  // Time begins with the reply: what comes before it takes as long as the machine likes.
  let begunMs: number | undefined
  const now = () => (begunMs === undefined ? 0 : performance.now() - begunMs)
  const { engine } = engineFor(t, origin, { readTimeoutMs: 150 }, { now })
  const reply = Promise.withResolvers<void>()
  const sending = engine.fetch(get(`${origin}/a`), permit(60_000), {
    signal: never,
    onArrived: () => {
      begunMs = performance.now()
      reply.resolve()
    },
  })
  const ended = assert.rejects(sending, timedOut(/nothing more of the body/))
  await reply.promise
  await takes(150, () => ended)
})

test('a body that drips for ever ends by the total time', async (t) => {
  const { origin } = await serve(t, (_request, response) => {
    response.writeHead(200)
    const drip = setInterval(() => response.write('.'), 20)
    response.on('close', () => clearInterval(drip))
  })
  const { engine } = engineFor(t, origin, { readTimeoutMs: 5_000, timeoutMs: 400 })
  await takes(400, async () => {
    await assert.rejects(
      engine.fetch(get(`${origin}/a`), permit(), { signal: never }),
      timedOut(/not complete within 400 ms/),
    )
  })
})

test('waiting for a socket counts in the total time', async (t) => {
  let requests = 0
  const { origin } = await serve(t, () => {
    requests += 1
  })
  // Its own clock: both have waited for exactly as long, and the first does not leave its socket to the second.
  let nowMs = 1_000
  const now = () => nowMs
  const options = { socketsPerOrigin: 1, readTimeoutMs: 5_000, timeoutMs: 200 }
  const { engine } = engineFor(t, origin, options, { now })
  const first = engine.fetch(get(`${origin}/first`), permit(), { signal: never })
  const second = engine.fetch(get(`${origin}/second`), permit(), { signal: never })
  const ended = Promise.allSettled([first, second])
  await until(() => requests === 1)
  nowMs += 200
  const [one, two] = await ended
  assert.ok(one.status === 'rejected' && timedOut(/not complete within/)(one.reason))
  assert.ok(two.status === 'rejected' && timedOut(/no socket became free within/)(two.reason))
  assert.equal(requests, 1, 'the second was never sent')
})

test('the total time of a download spans its redirects', async (t) => {
  const { origin, port } = await serve(t, (request, response) => {
    const hop = Number(request.url?.slice(1))
    setTimeout(() => response.writeHead(302, { location: `/${hop + 1}` }).end(), 120)
  })
  const { engine } = engineFor(t, origin, { allowPrivate: [`127.0.0.1:${port}`], timeoutMs: 300 })
  await takes(300, async () => {
    await assert.rejects(
      engine.download(new URL(`${origin}/0`), { signal: never, bodyBytesMax: 1_000 }),
      timedOut(/within 300 ms/),
    )
  })
})

test('a name that does not exist, and a port where nobody listens, are connection errors', async (t) => {
  const { engine } = engineFor(t, 'http://nobody.test', {}, { names: names({}) })
  await assert.rejects(engine.fetch(get('http://nobody.test/a'), permit(), { signal: never }), {
    reason: 'connection',
  })
  const closed = 'http://127.0.0.1:1'
  const other = engineFor(t, closed)
  await assert.rejects(other.engine.fetch(get(`${closed}/a`), permit(), { signal: never }), {
    reason: 'connection',
  })
})

test('a connection that breaks in the middle of a body is a connection error', async (t) => {
  const { origin } = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half')
    setImmediate(() => response.destroy())
  })
  const { engine } = engineFor(t, origin)
  await assert.rejects(engine.fetch(get(`${origin}/a`), permit(), { signal: never }), {
    reason: 'connection',
  })
})

test('what is not HTTP is a bad response', async (t) => {
  const { port } = await serveTcp(t, (socket) => socket.end('220 mail.test ESMTP\r\n'))
  const { engine } = engineFor(t, `http://127.0.0.1:${port}`)
  await assert.rejects(engine.fetch(get(`http://127.0.0.1:${port}/a`), permit(), { signal: never }), {
    reason: 'bad_response',
  })
})
