import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { ActionDoor, type Actions } from '../../src/admin/actions.ts'
import { log, startAdmin } from './start.ts'

const TOKEN = 'a-token-of-sixteen-and-more'

/** What was done, in order. */
function recording(problem: string | null = null): { done: unknown[][]; actions: Actions } {
  const done: unknown[][] = []
  const note =
    (name: string) =>
    async (...args: unknown[]) => {
      done.push([name, ...args])
      return problem
    }
  return { done, actions: { pause: note('pause'), resume: note('resume'), replay: note('replay') } }
}

async function start(t: TestContext, { token = TOKEN, problem = null as string | null } = {}) {
  const { done, actions } = recording(problem)
  const url = await startAdmin(t, { actions }, token === '' ? {} : { token })
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const reply = await fetch(`${url}/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${TOKEN}`, ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
    return { status: reply.status, text: await reply.text() }
  }
  return { url, done, post }
}

test('does what somebody with the token asks for, and nothing else', async (t) => {
  const { done, post } = await start(t)
  assert.equal((await post('token', {})).status, 200)
  assert.equal((await post('platforms/tiktok/pause', { because: ' their status page ' })).status, 200)
  assert.equal((await post('platforms/tiktok/resume', {})).status, 200)
  assert.equal((await post('dead-letters/replay', { reason: 'timeout' })).status, 200)
  assert.deepEqual(done, [
    ['pause', 'tiktok', 'their status page'],
    ['resume', 'tiktok'],
    ['replay', 'timeout'],
  ])
  assert.equal((await post('dead-letters/replay', { reason: 'no such reason' })).status, 400)
  assert.equal((await post('platforms/tiktok/pause', { because: 'x'.repeat(201) })).status, 400)
  assert.equal((await post('platforms/tiktok/pause', 'not JSON')).status, 400)
  assert.equal((await post('platforms/tiktok/pause', { pad: 'x'.repeat(3_000) })).status, 400)
  for (const path of ['platforms/Tik%2Ftok/pause', 'platforms/tiktok/delete', 'status', ''])
    assert.equal((await post(path, {})).status, 405, path)
  assert.equal(done.length, 3)
})

test('says why something could not be done', async (t) => {
  const { post } = await start(t, { problem: 'There is no platform tiktok here.' })
  const reply = await post('platforms/tiktok/resume', {})
  assert.equal(reply.status, 409)
  assert.match(reply.text, /There is no platform tiktok here/)
})

test('refuses who has no token, a wrong one, or one in another place', async (t) => {
  const { url, done, post } = await start(t)
  const path = 'platforms/tiktok/pause'
  assert.equal((await post(path, {}, { authorization: '' })).status, 401)
  assert.equal((await post(path, {}, { authorization: `Bearer ${TOKEN.slice(0, -1)}` })).status, 401)
  assert.equal((await post(path, {}, { authorization: `Basic ${btoa(`:${TOKEN}`)}` })).status, 401)
  assert.equal((await post(`${path}?token=${TOKEN}`, {}, { authorization: '' })).status, 401)
  assert.equal((await post(path, {}, { authorization: '', cookie: `token=${TOKEN}` })).status, 401)
  assert.equal((await fetch(`${url}/${path}`)).status, 404, 'a link does nothing')
  assert.deepEqual(done, [])
})

test('takes no word from another site, nor a form', async (t) => {
  const { url, done, post } = await start(t)
  const path = 'platforms/tiktok/pause'
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])
    assert.equal((await post(path, {}, { 'content-type': type })).status, 415)
  const statusOf = async (headers: Record<string, string>, method = 'POST') => {
    const { hostname, port } = new URL(url)
    const all = { 'content-type': 'application/json', authorization: `Bearer ${TOKEN}`, ...headers }
    const sent = request({ host: hostname, port, path: `/${path}`, method, headers: all, agent: false })
    const [reply] = await once(sent.end('{}'), 'response')
    reply.resume()
    return reply
  }
  assert.equal((await statusOf({ 'sec-fetch-site': 'cross-site' })).statusCode, 403)
  assert.equal((await statusOf({ 'sec-fetch-site': 'same-site' })).statusCode, 403)
  assert.equal((await statusOf({ host: 'rebound.example' })).statusCode, 421)
  const preflight = await statusOf({ origin: 'https://evil.example' }, 'OPTIONS')
  assert.equal(preflight.statusCode, 405)
  assert.equal(preflight.headers['access-control-allow-origin'], undefined)
  assert.deepEqual(done, [])
})

test('without a token in the configuration nobody changes anything', async (t) => {
  const { done, post } = await start(t, { token: '' })
  const reply = await post('platforms/tiktok/pause', {})
  assert.equal(reply.status, 403)
  assert.match(reply.text, /admin\.token is not set/)
  assert.deepEqual(done, [])
})

test('ten wrong tokens in a minute lock everybody out until it is over', async (t) => {
  let nowMs = 0
  const door = new ActionDoor({ token: TOKEN, actions: recording().actions, log, now: () => nowMs })
  const { createServer } = await import('node:http')
  const server = createServer(
    { keepAliveTimeout: 600_000 },
    (req, res) => void door.answer('/token', req, res),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  const statusOf = async (token: string) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
    const reply = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers, body: '{}' })
    await reply.arrayBuffer()
    return reply.status
  }
  for (let i = 0; i < 10; i++) assert.equal(await statusOf(`guess-${i}`), 401)
  assert.equal(await statusOf(TOKEN), 429)
  nowMs = 60_000
  assert.equal(await statusOf(TOKEN), 200)
})
