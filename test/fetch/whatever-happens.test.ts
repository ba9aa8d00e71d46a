import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { isPermitLate } from '../../src/fetch/errors.ts'
import { AttemptError } from '../../src/job/errors.ts'
import { until } from '../until.ts'
import { engineFor, get, metricValue, never, permit, serve } from './local.ts'

const ABORT = new Error('given up')

/** mulberry32: the same mishaps in every run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

test('whatever happens to 1,000 requests, each ends once, with a known reason, and every socket is free again', async (t) => {
  const chance = random(7)
  const coded = gzipSync('x'.repeat(2_000))
  const { origin, sockets } = await serve(t, (request, response) => {
    switch (request.url) {
      case '/fine':
        return void response.end('x'.repeat(1_000))
      case '/closing':
        return void response.writeHead(200, { connection: 'close' }).end('bye')
      case '/coded':
        return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(coded)
      case '/failing':
        return void response.writeHead(500).end()
      case '/broken':
        return void request.socket.destroy()
      case '/half':
        response.writeHead(200, { 'content-length': 1_000 })
        response.write('half')
        return void setTimeout(() => request.socket.destroy(), 5)
      case '/large':
        return void response.end(Buffer.alloc(50_000))
      case '/late':
        return void setTimeout(() => response.end('late'), 60)
      default:
        // Never answers.
        return
    }
  })
  const paths = ['/fine', '/closing', '/coded', '/failing', '/broken', '/half', '/large', '/late', '/never']
  const { engine, metrics } = engineFor(t, origin, {
    socketsPerOrigin: 40,
    bodyBytesMax: 10_000,
    readTimeoutMs: 300,
    timeoutMs: 2_000,
    // This test is about sockets; a breaker would keep most of it from happening.
    breaker: { callsMin: 1_000_000 },
  })
  // The first request of a process compiles the parser and much else, and may be late for it.
  await engine.fetch(get(`${origin}/fine`), permit(), { signal: never }).catch(() => {})
  const arrivals = new Array<number>(1_000).fill(0)
  const outcomes = new Map<string, number>()
  const one = async (index: number) => {
    const aborter = new AbortController()
    if (chance() < 0.3) setTimeout(() => aborter.abort(ABORT), chance() * 80)
    const path = paths[Math.floor(chance() * paths.length)]
    const deadlineMs = performance.now() + (chance() < 0.2 ? 20 : 60_000)
    const outcome = await engine
      .fetch(get(origin + path), permit(deadlineMs), {
        signal: aborter.signal,
        onArrived: () => {
          arrivals[index]! += 1
        },
      })
      .then(
        ({ status }) => String(status),
        (error: unknown) => {
          if (error instanceof AttemptError) return error.reason
          if (isPermitLate(error)) return error.why
          assert.equal(error, ABORT)
          return 'aborted'
        },
      )
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const all: Promise<void>[] = []
  for (let index = 0; index < 1_000; index += 1) {
    all.push(one(index))
    if (index % 40 === 39) await new Promise((resolve) => setTimeout(resolve, 15))
  }
  await Promise.all(all)
  assert.deepEqual(
    arrivals.filter((count) => count > 1),
    [],
  )
  // Only those that ended after they were written and before they were answered may stay untold.
  const untold = arrivals.filter((count) => count === 0).length
  const broken = ['connection', 'timeout', 'aborted'].map((name) => outcomes.get(name) ?? 0)
  assert.ok(untold <= broken.reduce((sum, count) => sum + count, 0), `${untold} untold`)
  await until(() => engine.room(origin) === 40)
  assert.ok(sockets.size <= 40)
  for (const seen of ['200', '500', 'connection', 'too_large', 'timeout', 'aborted', 'late']) {
    assert.ok((outcomes.get(seen) ?? 0) > 0, `${seen} never happened: ${JSON.stringify([...outcomes])}`)
  }
  await engine.stop()
  assert.equal(await metricValue(metrics, 'fetches_in_flight', { platform: 'here' }), 0)
  await until(() => sockets.size === 0)
})
