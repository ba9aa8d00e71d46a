import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import sharp from 'sharp'
import { request } from 'undici'
import { creatorIds } from '../../src/simulator/creators.ts'
import { completeOptions, OPEN_LIMITS, type SimulatorOptions } from '../../src/simulator/options.ts'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { until } from '../until.ts'

async function started(t: TestContext, options: Partial<SimulatorOptions> = {}) {
  const simulator = createSimulator({ latencyMs: 0, jitterMs: 0, limits: OPEN_LIMITS, ...options })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  return { simulator, base: `http://127.0.0.1:${port}` }
}

const [creator] = creatorIds('youtube', 1, 1)
const channelUrl = (base: string) =>
  `${base}/youtube/youtube/v3/channels?part=snippet&id=${creator}&key=simulator-youtube-key`

test('starting and stopping twice is once', async (t) => {
  const { simulator } = await started(t)
  const { port } = await simulator.start()
  assert.equal((await simulator.start()).port, port)
  await simulator.stop()
  await simulator.stop()
})

test('the oracle is asked and reset over HTTP', async (t) => {
  const { base } = await started(t, {
    limits: { platforms: {}, endpoints: { 'youtube/channel': { limit: 2, windowMs: 60_000 } } },
  })
  for (let call = 0; call < 3; call += 1) await (await request(channelUrl(base))).body.dump()
  const oracle = async () => (await (await request(`${base}/oracle`)).body.json()) as OracleReport
  const before = await oracle()
  assert.equal(before.arrivals, 3)
  assert.equal(before.violations, 1)
  assert.equal(before.inFlight, 0)
  assert.deepEqual(before.byStatus, { 200: 2, 403: 1 })
  assert.equal(before.levels[0]?.level, 'endpoint:youtube/channel')
  assert.equal(before.levels[0]?.maxInWindow, 3)
  await (await request(`${base}/oracle/reset`, { method: 'POST' })).body.dump()
  assert.equal((await oracle()).arrivals, 0)
})

test('the same seed answers the same, another seed otherwise', async (t) => {
  const wallClock = () => Date.parse('2026-11-21T12:00:00Z')
  const bodies: string[] = []
  for (const seed of [1, 1, 2]) {
    const { base } = await started(t, { seed, wallClock, missingShare: 0 })
    const text = await (await request(channelUrl(base))).body.text()
    bodies.push(text.replaceAll(base, ''))
  }
  assert.equal(bodies[0], bodies[1])
  assert.notEqual(bodies[0], bodies[2])
})

test('thousands of slow requests are held at once', async (t) => {
  // The simulator's timers, which tests do without: it answers when this clock says so.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { base, simulator } = await started(t, { latencyMs: 10_000 })
  let answered = 0
  const calls = Array.from({ length: 1500 }, async () => {
    const reply = await request(channelUrl(base))
    answered += 1
    await reply.body.dump()
    return reply.statusCode
  })
  await until(() => simulator.report().inFlight === calls.length)
  t.mock.timers.tick(9_999)
  await new Promise(setImmediate)
  assert.equal(simulator.report().inFlight, calls.length)
  assert.equal(answered, 0)
  t.mock.timers.tick(1)
  const statuses = await Promise.all(calls)
  assert.ok(statuses.every((status) => status === 200))
  assert.equal(simulator.report().inFlightMax, calls.length)
})

test('broken replies come in every kind, and are counted', async (t) => {
  const { base, simulator } = await started(t, { brokenShare: 1 })
  const seen = new Set<string>()
  for (let call = 0; call < 60; call += 1) {
    const reply = await request(channelUrl(base))
    const type = String(reply.headers['content-type'])
    let text: string | undefined
    try {
      text = await reply.body.text()
    } catch {
      seen.add('torn')
      continue
    }
    assert.equal(reply.statusCode, 200)
    if (type.startsWith('text/html')) seen.add('html')
    else if (text === '') seen.add('empty')
    else if (text.startsWith('{"error"')) seen.add('error_body')
    else {
      assert.throws(() => JSON.parse(text))
      seen.add('truncated')
    }
  }
  assert.deepEqual([...seen].sort(), ['empty', 'error_body', 'html', 'torn', 'truncated'])
  const { injected } = simulator.report()
  assert.equal(
    Object.values(injected).reduce((sum, count) => sum + count),
    60,
  )
})

test('errors and needless throttles are injected at their share, and are no violations', async (t) => {
  const { base, simulator } = await started(t, { errorRate: 0.3, throttleRate: 0.2 })
  for (let call = 0; call < 300; call += 1) await (await request(channelUrl(base))).body.dump()
  const { injected, violations } = simulator.report()
  assert.ok(injected.error! > 60 && injected.error! < 120, `${injected.error}`)
  assert.ok(injected.throttle! > 35 && injected.throttle! < 90, `${injected.throttle}`)
  assert.equal(violations, 0)
})

test('an address that is none says which there are', async (t) => {
  const { base } = await started(t)
  const reply = await request(`${base}/facebook`)
  assert.equal(reply.statusCode, 404)
  assert.match(await reply.body.text(), /expected one of \/instagram, \/tiktok, \/youtube/)
})

test('a body that is too large ends', async (t) => {
  const { base, simulator } = await started(t)
  const body = 'x'.repeat(200_000)
  const status = await request(`${base}/tiktok/v2/research/user/info/`, { method: 'POST', body }).then(
    async (reply) => {
      await reply.body.dump().catch(() => {})
      return reply.statusCode
    },
    () => 413,
  )
  assert.equal(status, 413)
  await until(() => simulator.report().inFlight === 0)
})

test('options out of range are named', () => {
  assert.throws(() => completeOptions({ creators: 0 }), /creators=0: expected a whole number, 1 to 1000000/)
  assert.throws(() => completeOptions({ errorRate: 2 }), /errorRate=2: expected a number, 0 to 1/)
})

async function picture(base: string, path: string, headers: Record<string, string> = {}) {
  const reply = await request(`${base}/pictures/${path}`, { headers })
  return {
    status: reply.statusCode,
    headers: reply.headers,
    body: Buffer.from(await reply.body.arrayBuffer()),
  }
}

test('pictures are JPEGs of 1080 × 1080, the same every time, and different for each post', async (t) => {
  const { base } = await started(t, { stockShare: 0 })
  const first = await picture(base, 'instagram/a_b_1/avatar.jpg')
  assert.equal(first.status, 200)
  assert.equal(first.headers['content-type'], 'image/jpeg')
  const { width, height, format } = await sharp(first.body).metadata()
  assert.deepEqual({ width, height, format }, { width: 1080, height: 1080, format: 'jpeg' })
  // Decoded to the end, not only the header.
  await sharp(first.body, { failOn: 'warning' }).resize(100).toBuffer()
  const sha256 = (body: Buffer) => createHash('sha256').update(body).digest('hex')
  assert.equal(sha256((await picture(base, 'instagram/a_b_1/avatar.jpg')).body), sha256(first.body))
  assert.notEqual(sha256((await picture(base, 'instagram/a_b_1/7.jpg')).body), sha256(first.body))
})

test('a share of the pictures is the same byte for byte', async (t) => {
  const { base } = await started(t, { stockShare: 1 })
  const seen = new Set<string>()
  for (let n = 0; n < 70; n += 1)
    seen.add((await picture(base, `tiktok/x/${n}.jpg`)).body.subarray(0, 20_000).toString('latin1'))
  assert.ok(seen.size < 70 && seen.size > 10, `${seen.size}`)
})

test('a picture that the caller has is not sent again', async (t) => {
  const { base, simulator } = await started(t)
  const { headers } = await picture(base, 'youtube/x_1/0.jpg')
  const byTag = await picture(base, 'youtube/x_1/0.jpg', { 'if-none-match': String(headers.etag) })
  assert.equal(byTag.status, 304)
  assert.equal(byTag.body.length, 0)
  const byDate = await picture(base, 'youtube/x_1/0.jpg', {
    'if-modified-since': String(headers['last-modified']),
  })
  assert.equal(byDate.status, 304)
  const other = await picture(base, 'youtube/x_1/0.jpg', { 'if-none-match': '"other"' })
  assert.equal(other.status, 200)
  const report = simulator.report()
  assert.equal(report.picturesNotModified, 2)
  assert.equal(report.arrivals, 0)
  assert.equal((await picture(base, 'instagram/x/y.jpg')).status, 404)
})
