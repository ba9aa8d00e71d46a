import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { STATUS, sourceOf } from './source.ts'
import { startAdmin } from './start.ts'

/** Reads events until `count` have come; `each` is called after every one. */
async function read(url: string, count: number, each: () => void = () => undefined): Promise<string[]> {
  const reply = await fetch(`${url}/events`)
  assert.equal(reply.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const events: string[] = []
  let text = ''
  for await (const chunk of reply.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const parts = text.split('\n\n')
    text = parts.pop()!
    for (const part of parts) {
      if (/^(retry|event: hello)/.test(part)) continue
      events.push(part)
      each()
    }
    if (events.length >= count) break
  }
  // More may have come at once.
  return events.slice(0, count)
}

test('sends the status with readiness at once, and again each interval', async (t) => {
  let consumed = 0
  const status = () => ({ ...STATUS, jobs: { ...STATUS.jobs, consumed: ++consumed } })
  const url = await startAdmin(t, { source: sourceOf({ status }) }, { eventsIntervalMs: 20 })
  const events = await read(url, 3)
  const first = JSON.parse(events[0]!.slice('data: '.length))
  const third = JSON.parse(events[2]!.slice('data: '.length))
  assert.deepEqual(first.ready, { ready: true, reasons: [] })
  assert.ok(third.jobs.consumed > first.jobs.consumed)
})

test('tells the page when the status cannot be had', async (t) => {
  const status = () => Promise.reject(new Error('the limiter is\naway'))
  const url = await startAdmin(t, { source: sourceOf({ status }) })
  assert.deepEqual(await read(url, 1), ['event: trouble\ndata: "the limiter is away"'])
})

test('asks for no status while nobody looks on', async (t) => {
  let asked = 0
  const status = () => {
    asked++
    return STATUS
  }
  const url = await startAdmin(t, { source: sourceOf({ status }) }, { eventsIntervalMs: 5 })
  assert.equal(asked, 0)
  await read(url, 2)
  // Leaving is noticed by the closing socket; from then on the count stands still.
  let before = -1
  while (before !== asked) {
    before = asked
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.ok(asked >= 2)
})

test('refuses one console more than allowed, and takes it when another has left', async (t) => {
  const url = await startAdmin(t, {}, { eventClientsMax: 2 })
  const leaving = new AbortController()
  const first = await fetch(`${url}/events`, { signal: leaving.signal })
  const second = await fetch(`${url}/events`)
  const third = await fetch(`${url}/events`)
  assert.deepEqual([first.status, second.status, third.status], [200, 200, 503])
  assert.equal(third.headers.get('retry-after'), '10')

  leaving.abort()
  let status = 503
  while (status !== 200) {
    const again = await fetch(`${url}/events`)
    status = again.status
    await again.body?.cancel()
  }
  await second.body?.cancel()
})

test('drops a console that does not read, and keeps one that does', async (t) => {
  // Two megabytes an event: more than a socket's buffers hold, so what is unread piles up in the daemon. One more event is
  // made for each that the reader has read: how fast this machine is does not matter.
  let allowed = 3
  t.after(() => {
    allowed = Number.POSITIVE_INFINITY
  })
  const status = async () => {
    while (allowed === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    allowed--
    return { ...STATUS, version: 'x'.repeat(2_000_000) }
  }
  const url = await startAdmin(
    t,
    { source: sourceOf({ status }) },
    { eventsIntervalMs: 10, eventBacklogBytesMax: 5_000_000 },
  )
  const deaf = connect(Number(new URL(url).port), '127.0.0.1')
  deaf.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  deaf.pause()
  deaf.on('error', () => undefined)
  const dropped = once(deaf, 'close')
  assert.equal(
    (
      await read(url, 12, () => {
        allowed++
      })
    ).length,
    12,
  )
  // Only a socket that is read notices its end.
  deaf.resume()
  await dropped
})
