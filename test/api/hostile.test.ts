import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { sqlTime } from '../../src/timeseries/engine.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'
import { openFilled, resultOf, START_MS, startApi } from './support.ts'

interface Reply {
  readonly status: number
  readonly type: string | undefined
  readonly body: string
}

/** Sends bytes as they are, and resolves with the reply once the server has closed, or this much of the body has come. */
async function raw(url: string, text: string): Promise<Reply> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  let reply = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    reply += chunk
    const length = /^content-length: (\d+)\r$/im.exec(reply)?.[1]
    const at = reply.indexOf('\r\n\r\n')
    if (length !== undefined && reply.length >= at + 4 + Number(length)) socket.destroy()
  })
  socket.write(text)
  await once(socket, 'close')
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(reply)?.[1]),
    type: /^content-type: (.+)\r$/im.exec(reply)?.[1],
    body: reply.slice(reply.indexOf('\r\n\r\n') + 4),
  }
}

const UPGRADE = [
  'connection: Upgrade',
  'upgrade: websocket',
  'sec-websocket-version: 13',
  'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
]
const PROBLEM = 'application/problem+json; charset=utf-8'

test('what is made to do harm is refused in good form, and costs little', async (t) => {
  const clickhouse = need(t, 'clickhouse')
  if (clickhouse === null) return
  const { engine } = await openFilled(t, clickhouse, [{ creatorId: 'c', followers: 1 }])
  const { url, get, json, published, onResult, metrics } = await startApi(t, engine)
  const { host } = new URL(url)
  const post = (body: string | Buffer, headers: Record<string, string> = {}) =>
    fetch(`${url}/v1/scrapes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
  const codeOf = async (reply: Response) => ((await reply.json()) as { code?: string }).code

  await t.test('what is no request, or too large for one, gets a problem all the same', async () => {
    const get = (path: string, ...headers: string[]) =>
      [`GET ${path} HTTP/1.1`, `host: ${host}`, 'connection: close', ...headers, '', ''].join('\r\n')
    const wrong: [string, number, string][] = [
      ['nothing of the kind\r\n\r\n', 400, 'invalid_request'],
      [get('/v1/dashboard', `x-large: ${'x'.repeat(20_000)}`), 431, 'headers_too_large'],
      [get(`/v1/creators?q=${'x'.repeat(20_000)}`), 431, 'headers_too_large'],
      [get('/v1/dashboard', 'content-length: 1', 'transfer-encoding: chunked'), 400, 'invalid_request'],
      [get('/v1/dashboard', 'x-bad: a\u0000b'), 400, 'invalid_request'],
      [get('/v1/creators/instagram/%'), 400, 'invalid_request'],
      [get('/v1/creators/instagram/..%2f..%2fetc%2fpasswd%00'), 400, 'invalid_request'],
      [get('/v1/creators/instagram/..%2f..%2fetc%2fpasswd'), 404, 'not_found'],
      [get('//v1/creators'), 404, 'not_found'],
      [get('/v1/creators', ...UPGRADE), 400, 'invalid_request'],
      [get('/nowhere', ...UPGRADE), 404, 'not_found'],
      [get('/v1/../openapi.json'), 404, 'not_found'],
      [get('/v1/scrapes/__proto__'), 404, 'not_found'],
      [get('/v1/creators?__proto__=1'), 400, 'invalid_request'],
      [get('/v1/creators?constructor[prototype]=1'), 400, 'invalid_request'],
    ]
    for (const [text, status, code] of wrong) {
      const reply = await raw(url, text)
      const { code: found } = JSON.parse(reply.body) as { code: string }
      assert.deepEqual(
        [text.slice(0, 60), reply.status, found, reply.type],
        [text.slice(0, 60), status, code, PROBLEM],
      )
    }
  })

  await t.test('a header that is made for patterns takes no time', async () => {
    // The processor's: the machine may be busy with other things.
    const before = process.cpuUsage()
    for (let n = 0; n < 30; n++) {
      const reply = await get('/v1/dashboard', { 'accept-encoding': `gzip${' '.repeat(14_000)}x` })
      assert.equal(reply.headers.get('content-encoding'), null)
      await reply.text()
    }
    // Half a second each, once.
    assert.ok(process.cpuUsage(before).user < 8_000_000)
    for (const [header, encoding] of [
      ['gzip;q=0, *', null],
      ['br, *;q=0.5', 'gzip'],
      ['GZIP ; q=0.001', 'gzip'],
      ['gzip;q=0.000', null],
    ] as const) {
      const reply = await get('/v1/creators?limit=200', { 'accept-encoding': header })
      await reply.text()
      const isLarge = Number(reply.headers.get('content-length')) >= 1_024
      if (isLarge) assert.equal(reply.headers.get('content-encoding'), encoding, header)
    }
  })

  await t.test('a body that is compressed, or would unpack to much, is not looked at', async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000, 32))
    assert.equal(await codeOf(await post(bomb, { 'content-encoding': 'gzip' })), 'unsupported_media_type')
    assert.equal(await codeOf(await post('[', {})), 'invalid_request')
    assert.equal(await codeOf(await post('['.repeat(900_000))), 'invalid_request')
    assert.equal(await codeOf(await post(`${'['.repeat(400_000)}${']'.repeat(400_000)}`)), 'invalid_request')
    const keys = ['__proto__', 'constructor', 'toString']
    for (const key of keys) {
      const one = `{"platform":"instagram","creator_id":"c","job_type":"${key}","params":{"${key}":{"prototype":{"x":1}}}}`
      const reply = await post(one)
      assert.ok(reply.status === 400 || reply.status === 422, key)
      await reply.text()
    }
    assert.equal(published.records.length, 0)
    assert.equal(({} as { x?: number }).x, undefined)
  })

  await t.test('an id of 200 characters of any script leads where its address says', async () => {
    const job_id = '🦜'.repeat(100)
    for (const id of [job_id, '字'.repeat(200), '/?#%&+ ;=@:'.repeat(18), '...', 'a/b']) {
      const body = { platform: 'instagram', creator_id: 'c', job_type: 'profile', job_id: id }
      const reply = await post(JSON.stringify(body))
      const { jobs } = (await reply.json()) as { jobs: { job_id: string; href: string }[] }
      const found = await json<{ job_id: string; state: string }>(jobs[0]?.href ?? '')
      assert.deepEqual([found.job_id, found.state], [id, 'queued'])
    }
  })

  await t.test('an id that no address can end with is refused', async () => {
    for (const job_id of ['.', '..']) {
      const body = { platform: 'instagram', creator_id: 'c', job_type: 'profile', job_id }
      assert.equal(await codeOf(await post(JSON.stringify(body))), 'invalid_request')
    }
  })

  await t.test('an id that was another job’s before is the new one’s', async () => {
    const body = JSON.stringify({
      platform: 'instagram',
      creator_id: 'again',
      job_type: 'profile',
      job_id: 'again',
    })
    const state = async () => (await json<{ state: string }>('/v1/scrapes/again')).state
    await engine.write.insert({
      table: 'jobs',
      format: 'JSONEachRow',
      values: [
        {
          ...{
            job_id: 'again',
            platform: 'instagram',
            creator_id: 'again',
            job_type: 'profile',
            status: 'done',
          },
          ...{ ts: sqlTime(START_MS), observed_at: sqlTime(START_MS) },
        },
      ],
    })
    assert.equal(await state(), 'done')
    await (await post(body)).text()
    assert.equal(await state(), 'queued')
  })

  await t.test('methods: HEAD is GET without a body, nothing else is taken', async () => {
    for (const path of ['/v1/creators', '/v1/dashboard', '/healthz', '/v1/creators/instagram/c']) {
      const head = await fetch(url + path, { method: 'HEAD' })
      assert.deepEqual([head.status, await head.text()], [200, ''], path)
    }
    for (const method of ['OPTIONS', 'PUT', 'PATCH', 'DELETE']) {
      const reply = await fetch(`${url}/v1/creators`, { method })
      assert.deepEqual([reply.status, await codeOf(reply)], [405, 'method_not_allowed'], method)
    }
    for (const path of ['/v1/export?what=points', '/v1/stream']) {
      const head = await fetch(url + path, { method: 'HEAD' })
      assert.equal(head.status, 405, path)
      await head.text()
    }
  })

  await t.test('a client has its share of streams, and one that does not read loses its place', async () => {
    const streams: IncomingMessage[] = []
    for (let n = 0; n < 20; n++) {
      const asked = request(`${url}/v1/stream`, { agent: false }).end()
      const [reply] = (await once(asked, 'response')) as [IncomingMessage]
      reply.on('error', () => {})
      streams.push(reply)
    }
    const more = await get('/v1/stream')
    assert.deepEqual([more.status, await codeOf(more)], [429, 'too_many_queries'])
    const clients = async () => (await metrics.api_stream_clients.get()).values[0]?.value
    assert.equal(await clients(), 20)
    for (const reply of streams.slice(1)) reply.destroy()
    await until(async () => (await clients()) === 1, 'only one listens')
    // It has not read a byte, and more comes than lies in buffers.
    const data = { text: 'x'.repeat(4_000) }
    for (let n = 0; n < 8_000; n++) {
      onResult(resultOf({ data }))
      if (n % 100 === 0) await new Promise((soon) => setImmediate(soon))
    }
    await until(async () => (await clients()) === 0, 'nobody listens')
  })
})
