import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { AdminServer } from '../../src/admin/server.ts'
import { MillraceError } from '../../src/job/errors.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { STATUS, sourceOf } from './source.ts'
import { log, startAdmin } from './start.ts'

test('says ready with 200, and not ready with 503 and every reason', async (t) => {
  let reasons: string[] = []
  const url = await startAdmin(t, {
    source: sourceOf({ ready: () => ({ ready: reasons.length === 0, reasons }) }),
  })
  const well = await fetch(`${url}/readyz`)
  assert.deepEqual([well.status, await well.json()], [200, { ready: true, reasons: [] }])

  reasons = ['No partition is assigned yet.', 'ClickHouse does not take rows.']
  const ill = await fetch(`${url}/readyz`)
  assert.deepEqual([ill.status, await ill.json()], [503, { ready: false, reasons }])
})

test('gives the status as JSON, from a source that answers at once or later', async (t) => {
  const url = await startAdmin(t, { source: sourceOf({ status: async () => STATUS }) })
  const reply = await fetch(`${url}/status`)
  assert.equal(reply.headers.get('content-type'), 'application/json; charset=utf-8')
  assert.deepEqual(await reply.json(), STATUS)
})

test('asks the source once for a crowd of readers', async (t) => {
  let asked = 0
  const gate = Promise.withResolvers<void>()
  const status = async () => {
    asked++
    await gate.promise
    return STATUS
  }
  let arrived = 0
  const ready = () => {
    arrived++
    return { ready: true, reasons: [] }
  }
  const url = await startAdmin(t, { source: sourceOf({ status, ready }) })
  const crowd = Array.from({ length: 20 }, () => fetch(`${url}/status`))
  // All twenty are at the server once a later request on the same pool of connections has been answered.
  while (asked === 0) await fetch(`${url}/readyz`)
  for (let i = 0; i < 5; i++) await fetch(`${url}/readyz`)
  gate.resolve()
  for (const reply of await Promise.all(crowd)) assert.equal(reply.status, 200)
  assert.ok(asked < 20, `${asked} questions for 20 readers`)
  assert.ok(arrived > 0)
})

test('answers 500 with one line when the source fails, and goes on', async (t) => {
  const url = await startAdmin(t, {
    source: sourceOf({
      status: () => {
        throw new Error('no such thing')
      },
    }),
  })
  const reply = await fetch(`${url}/status`)
  assert.deepEqual([reply.status, await reply.text()], [500, 'no such thing\n'])
  assert.equal((await fetch(`${url}/livez`)).status, 200)
})

test('serves metrics as Prometheus text, and as OpenMetrics to who asks, time after time', async (t) => {
  const metrics = createMetrics({ defaults: true })
  metrics.kafka_committed_total.inc(3)
  let prepared = 0
  const url = await startAdmin(t, {
    metrics,
    beforeScrape: [
      () => {
        throw new Error('one metric is out of order')
      },
      () => {
        prepared++
      },
    ],
  })
  for (let round = 1; round <= 2; round++) {
    const plain = await fetch(`${url}/metrics`)
    assert.equal(plain.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
    assert.match(
      await plain.text(),
      /# TYPE millrace_kafka_committed_total counter\nmillrace_kafka_committed_total 3\n/,
    )

    const open = await fetch(`${url}/metrics`, {
      headers: { accept: 'application/openmetrics-text;version=1.0.0' },
    })
    assert.equal(
      open.headers.get('content-type'),
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    )
    const text = await open.text()
    assert.match(text, /# TYPE millrace_kafka_committed counter\nmillrace_kafka_committed_total 3\n/)
    assert.ok(text.endsWith('# EOF\n'))
  }
  assert.equal(prepared, 4)
})

test('answers GET and HEAD only, with the security headers on everything', async (t) => {
  const url = await startAdmin(t)
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const reply = await fetch(`${url}/status`, { method })
    assert.deepEqual([method, reply.status, reply.headers.get('allow')], [method, 405, 'GET, HEAD'])
  }
  for (const path of ['/', '/metrics', '/livez', '/readyz', '/status', '/events', '/nowhere']) {
    const reply = await fetch(url + path, { method: 'HEAD' })
    assert.equal(await reply.text(), '')
    assert.equal(reply.status, path === '/nowhere' ? 404 : 200)
    assert.match(reply.headers.get('content-security-policy') ?? '', /^default-src 'none'/)
    assert.equal(reply.headers.get('x-content-type-options'), 'nosniff')
    assert.equal(reply.headers.get('x-frame-options'), 'DENY')
  }
})

test('keeps the status from pages of other sites, and lets scrapers and probes come under any name', async (t) => {
  const url = new URL(await startAdmin(t))
  const statusOf = async (path: string, headers: Record<string, string>) => {
    const sent = request({ host: '127.0.0.1', port: url.port, path, headers, agent: false }).end()
    const [reply] = await once(sent, 'response')
    reply.resume()
    return reply.statusCode
  }
  assert.equal(await statusOf('/status', { host: 'rebound.example:9464' }), 421)
  assert.equal(await statusOf('/', { host: 'rebound.example' }), 421)
  assert.equal(await statusOf('/', { host: `localhost:${url.port}` }), 200)
  assert.equal(await statusOf('/', { host: '[::1]:9464', 'sec-fetch-site': 'cross-site' }), 200)
  assert.equal(await statusOf('/status', { host: 'localhost', 'sec-fetch-site': 'cross-site' }), 403)
  assert.equal(await statusOf('/metrics', { host: 'host.docker.internal:9464' }), 200)
  assert.equal(await statusOf('/readyz', { host: 'millrace.example' }), 200)
})

test('refuses headers beyond their bound', async (t) => {
  const url = await startAdmin(t)
  const reply = await fetch(`${url}/livez`, { headers: { 'x-long': 'a'.repeat(9_000) } })
  assert.equal(reply.status, 431)
})

test('serves the pictures that a status has named, and no others', async (t) => {
  const newest = ['pictures/ab/abcd/thumb.jpg']
  const asked: string[] = []
  const url = await startAdmin(t, {
    source: sourceOf({
      status: () => ({ ...STATUS, pictures: { ...STATUS.pictures, newest } }),
      picture: async (key) => {
        asked.push(key)
        return Buffer.from('JPEG')
      },
    }),
  })
  assert.equal((await fetch(`${url}/pictures/ab/abcd/thumb.jpg`)).status, 404, 'not named yet')
  await fetch(`${url}/status`)
  newest.pop()
  const known = await fetch(`${url}/pictures/ab/abcd/thumb.jpg`)
  assert.deepEqual(
    [known.status, known.headers.get('content-type'), await known.text()],
    [200, 'image/jpeg', 'JPEG'],
  )
  assert.equal((await fetch(`${url}/pictures/zz/secret.jpg`)).status, 404)
  assert.equal((await fetch(`${url}/pictures/..%2f..%2fetc/passwd`)).status, 404)
  assert.deepEqual(asked, ['pictures/ab/abcd/thumb.jpg'])
})

test('names port and setting when the port is taken', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.after(() => other.close())
  const { port } = other.address() as AddressInfo
  const server = new AdminServer(
    { host: '127.0.0.1', port },
    { source: sourceOf(), metrics: createMetrics(), log },
  )
  await assert.rejects(server.start(), (error) => {
    assert.ok(error instanceof MillraceError)
    assert.equal(error.kind, 'failed')
    assert.equal(
      error.message,
      `admin.port ${port} on 127.0.0.1: another process listens there already; set admin.port to a free one, or to 0 for any`,
    )
    return true
  })
  await server.stop()
})

test('may be started and stopped twice, and ends connections that linger', async () => {
  const server = new AdminServer(
    { host: '127.0.0.1', port: 0 },
    { source: sourceOf(), metrics: createMetrics(), log },
  )
  const { port, url } = await server.start()
  assert.equal((await server.start()).port, port)
  // A client that has said half of its request.
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /livez HTTP/1.1\r\nHost: loc'))
  await once(socket, 'connect')
  const events = await fetch(`${url}/events`)
  await Promise.all([server.stop(), server.stop(), once(socket.resume(), 'close'), events.text()])
  await assert.rejects(fetch(`${url}/livez`))
})
