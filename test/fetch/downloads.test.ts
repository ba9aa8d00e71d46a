import assert from 'node:assert/strict'
import { test } from 'node:test'
import { engineFor, metricValue, never, serve } from './local.ts'

test('downloads from a host that is allowed, follows up to three redirects and counts bytes as pictures', async (t) => {
  const { origin, port } = await serve(t, (request, response) => {
    const hop = Number(request.url?.slice(1))
    if (hop === 0) response.end('picture')
    else response.writeHead(hop % 2 === 0 ? 301 : 307, { location: `/${hop - 1}` }).end('moved')
  })
  const { engine, metrics } = engineFor(t, 'https://api.test', { allowPrivate: [`127.0.0.1:${port}`] })
  const options = { signal: never, bodyBytesMax: 1_000 }
  const reply = await engine.download(new URL(`${origin}/3`), options)
  assert.equal(reply.body.toString(), 'picture')
  await assert.rejects(engine.download(new URL(`${origin}/4`), options), {
    reason: 'bad_response',
    message: /more than 3 redirects/,
  })
  const bytes = await metricValue(metrics, 'fetch_bytes_total', { platform: 'pictures' })
  assert.equal(bytes, 'picture'.length + 7 * 'moved'.length)
  assert.equal(
    await metricValue(metrics, 'fetch_duration_seconds_count', { platform: 'pictures' }),
    undefined,
    'the picture stage records its own',
  )
})

test('asks conditionally, and a 304 is a reply', async (t) => {
  const seen: unknown[] = []
  const { origin, port } = await serve(t, (request, response) => {
    seen.push([
      request.headers['if-none-match'],
      request.headers['if-modified-since'],
      request.headers['accept-encoding'],
    ])
    response.writeHead(304, { etag: '"1"' }).end()
  })
  const { engine } = engineFor(t, 'https://api.test', { allowPrivate: [`127.0.0.1:${port}`] })
  const lastModified = 'Fri, 01 May 2026 12:00:00 GMT'
  const url = new URL(origin)
  const reply = await engine.download(url, {
    signal: never,
    bodyBytesMax: 1_000,
    validators: { etag: '"1"', lastModified },
  })
  assert.equal(reply.status, 304)
  assert.equal(reply.headers.etag, '"1"')
  assert.equal(reply.body.length, 0)
  await engine.download(url, { signal: never, bodyBytesMax: 1_000, validators: { etag: 'a\nb' } })
  assert.deepEqual(seen, [
    ['"1"', lastModified, 'identity'],
    [undefined, undefined, 'identity'],
  ])
})

test('a redirect to nowhere is a reply, one to nonsense a bad response', async (t) => {
  const { origin, port } = await serve(t, (request, response) => {
    if (request.url === '/nonsense') response.setHeader('location', 'http://[')
    response.writeHead(302).end()
  })
  const { engine } = engineFor(t, 'https://api.test', { allowPrivate: [`127.0.0.1:${port}`] })
  const options = { signal: never, bodyBytesMax: 1_000 }
  assert.equal((await engine.download(new URL(`${origin}/nowhere`), options)).status, 302)
  await assert.rejects(engine.download(new URL(`${origin}/nonsense`), options), { reason: 'bad_response' })
})

test('bounds the size of a download by its own figure', async (t) => {
  const { origin, port } = await serve(t, (_request, response) => response.end(Buffer.alloc(5_000)))
  const { engine } = engineFor(t, 'https://api.test', {
    allowPrivate: [`127.0.0.1:${port}`],
    bodyBytesMax: 10,
  })
  const url = new URL(origin)
  assert.equal((await engine.download(url, { signal: never, bodyBytesMax: 5_000 })).body.length, 5_000)
  await assert.rejects(engine.download(url, { signal: never, bodyBytesMax: 4_999 }), { reason: 'too_large' })
})

test('opens no more sockets to a host than allowed, and forgets hosts that it has not used for long', async (t) => {
  let open = 0
  let most = 0
  const hosts = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const host = await serve(t, (_request, response) => {
        setTimeout(() => response.end('x'), 10)
      })
      host.server.on('connection', (socket) => {
        open += 1
        most = Math.max(most, open)
        socket.on('close', () => {
          open -= 1
        })
      })
      return host
    }),
  )
  const { engine } = engineFor(t, 'https://api.test', {
    allowPrivate: hosts.map(({ port }) => `127.0.0.1:${port}`),
    socketsPerHost: 4,
    hostsMax: 2,
  })
  for (const { origin } of hosts) {
    await Promise.all(
      Array.from({ length: 12 }, () => engine.download(new URL(origin), { signal: never, bodyBytesMax: 10 })),
    )
  }
  assert.ok(most <= 12, `${most} sockets were open at once, expected those of two or three hosts`)
})
