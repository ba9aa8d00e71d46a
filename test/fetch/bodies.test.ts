import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from 'node:zlib'
import { until } from '../until.ts'
import { engineFor, get, metricValue, never, permit, serve } from './local.ts'

const KB = 1_000

test('returns status, headers and the whole body, and keeps the socket', async (t) => {
  const ports = new Set<number | undefined>()
  const { origin } = await serve(t, (request, response) => {
    ports.add(request.socket.remotePort)
    response.setHeader('set-cookie', ['a=1', 'b=2'])
    response.writeHead(404, { 'X-Thing': 'Yes' })
    response.write('one ')
    setImmediate(() => response.end('two'))
  })
  const { engine, metrics } = engineFor(t, origin)
  for (let round = 0; round < 3; round += 1) {
    const reply = await engine.fetch(get(`${origin}/a?b=c`), permit(), { signal: never })
    assert.equal(reply.status, 404)
    assert.equal(reply.headers['x-thing'], 'Yes')
    assert.deepEqual(reply.headers['set-cookie'], ['a=1', 'b=2'])
    assert.equal(reply.body.toString(), 'one two')
    assert.ok(reply.durationMs > 0)
  }
  assert.equal(ports.size, 1)
  const labels = { platform: 'here', endpoint: 'things', status: '4xx' }
  assert.equal(await metricValue(metrics, 'fetch_duration_seconds_count', labels), 3)
  assert.equal(await metricValue(metrics, 'fetch_bytes_total', { platform: 'here' }), 21)
})

test('sends method, path, query, headers and body', async (t) => {
  let seen: unknown
  const { origin } = await serve(t, (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk
    })
    request.on('end', () => {
      const { authorization, 'accept-encoding': encoding, 'user-agent': agent } = request.headers
      seen = { method: request.method, url: request.url, authorization, encoding, agent, body }
      response.end()
    })
  })
  const { engine } = engineFor(t, origin)
  await engine.fetch(
    get(`${origin}/v1/x?a=%20b`, { method: 'POST', headers: { Authorization: 'Bearer x' }, body: '{"ü":1}' }),
    permit(),
    { signal: never },
  )
  assert.deepEqual(seen, {
    method: 'POST',
    url: '/v1/x?a=%20b',
    authorization: 'Bearer x',
    encoding: 'gzip, br, zstd',
    agent: 'millrace (gzip)',
    body: '{"ü":1}',
  })
})

test('follows no redirect under a permit, and passes over interim replies', async (t) => {
  const { origin } = await serve(t, (_request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' })
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  const { engine } = engineFor(t, origin)
  const reply = await engine.fetch(get(`${origin}/a`), permit(), { signal: never })
  assert.equal(reply.status, 302)
})

test('refuses a body that is announced, or turns out, larger than allowed', async (t) => {
  let closed = 0
  const { origin } = await serve(t, (request, response) => {
    response.on('close', () => {
      closed += 1
    })
    if (request.url === '/announced') response.writeHead(200, { 'content-length': 50 * KB })
    response.write(Buffer.alloc(20 * KB))
  })
  const { engine } = engineFor(t, origin, { bodyBytesMax: 10 * KB })
  for (const path of ['/announced', '/chunked']) {
    await assert.rejects(engine.fetch(get(origin + path), permit(), { signal: never }), {
      reason: 'too_large',
      message: /at most 10000/,
    })
  }
  await until(() => closed === 2)
  const larger = engine.fetch(get(`${origin}/announced`, { bodyBytesMax: 100 * KB }), permit(), {
    signal: AbortSignal.timeout(200),
  })
  await assert.rejects(larger, { name: 'TimeoutError' }, 'it is allowed, and still waited for')
})

test('refuses headers that are larger than allowed', async (t) => {
  const { origin } = await serve(t, (_request, response) => {
    response.writeHead(200, { 'x-much': 'x'.repeat(8 * KB) }).end()
  })
  const { engine } = engineFor(t, origin, { headerBytesMax: 4 * KB })
  await assert.rejects(engine.fetch(get(`${origin}/a`), permit(), { signal: never }), {
    reason: 'too_large',
  })
})

const zeros = Buffer.alloc(30_000 * KB)
const brotliFast = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }
const ENCODERS = {
  gzip: (body: Buffer) => gzipSync(body),
  br: (body: Buffer) => brotliCompressSync(body, brotliFast),
  zstd: (body: Buffer) => zstdCompressSync(body),
}
for (const [encoding, encode] of Object.entries(ENCODERS)) {
  test(`decodes ${encoding}, and ends a bomb in it`, async (t) => {
    const plain = Buffer.from('{"a":"b"}')
    const encoded = encode(plain)
    const bomb = encode(zeros)
    const { origin } = await serve(t, (request, response) => {
      response.writeHead(200, { 'content-encoding': encoding })
      response.end(request.url === '/bomb' ? bomb : encoded)
    })
    const { engine } = engineFor(t, origin, { bodyBytesMax: 2_000 * KB })
    const reply = await engine.fetch(get(`${origin}/fine`), permit(), { signal: never })
    assert.deepEqual(reply.body, plain)
    await assert.rejects(engine.fetch(get(`${origin}/bomb`), permit(), { signal: never }), {
      reason: 'too_large',
    })
  })
}

test('an encoding that nobody asked for is a bad response', async (t) => {
  const { origin } = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-encoding': 'compress' }).end('?')
  })
  const { engine } = engineFor(t, origin)
  await assert.rejects(engine.fetch(get(`${origin}/a`), permit(), { signal: never }), {
    reason: 'bad_response',
    message: /"compress", expected gzip, br, zstd/,
  })
})

test('tells of the arrival once, on headers, and not at all when a written request gets no answer', async (t) => {
  const { origin } = await serve(t, (request, response) => {
    if (request.url === '/slow') return
    response.writeHead(200)
    response.write('now')
    if (request.url === '/fine') setTimeout(() => response.end(), 30)
    else response.destroy()
  })
  const { engine } = engineFor(t, origin)
  const { engine: hasty } = engineFor(t, origin, { readTimeoutMs: 500 })
  for (const [path, settles, told] of [
    ['/fine', 'fulfilled', ['arrived']],
    ['/broken', 'rejected', []],
    ['/slow', 'rejected', []],
  ] as const) {
    const order: string[] = []
    const onArrived = () => {
      order.push('arrived')
    }
    const [result] = await Promise.allSettled([
      (path === '/slow' ? hasty : engine).fetch(get(origin + path), permit(), { signal: never, onArrived }),
    ])
    order.push('settled')
    assert.equal(result?.status, settles)
    assert.deepEqual(order, [...told, 'settled'])
  }
})

test('no message holds a query, a header or a body', async (t) => {
  const { origin } = await serve(t, (request, response) => {
    if (request.url?.startsWith('/broken') === true) response.destroy()
    else if (request.url?.startsWith('/large') === true) response.end(Buffer.alloc(5 * KB))
    else if (request.url?.startsWith('/coded') === true) {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('SECRET')
    }
  })
  const { engine } = engineFor(t, origin, { bodyBytesMax: KB })
  const { engine: hasty } = engineFor(t, origin, { readTimeoutMs: 500 })
  for (const path of ['/broken', '/large', '/coded', '/slow']) {
    const request = get(`${origin}${path}?key=SECRET`, { headers: { authorization: 'Bearer SECRET' } })
    const by = path === '/slow' ? hasty : engine
    const error = await by.fetch(request, permit(), { signal: never }).then(
      () => assert.fail('expected a failure'),
      (reason: unknown) => reason as Error,
    )
    assert.ok(error.message.startsWith(`GET ${origin}${path}: `), error.message)
    const everything = JSON.stringify({ ...error, message: error.message, cause: error.cause })
    assert.doesNotMatch(everything + String(error.stack), /SECRET/)
  }
})
