import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type IncomingMessage, request } from 'node:http'
import { describe, type TestContext, test } from 'node:test'
import { eventsOf } from '../../src/api/events/event.ts'
import { MemoryLog } from '../../src/api/events/memory-log.ts'
import { need } from '../need.ts'
import { openOwnDatabase } from '../timeseries/support.ts'
import { until } from '../until.ts'
import { resultOf, startApi } from './support.ts'

interface Got {
  readonly id: string
  readonly kind: string
  readonly job_id: string
}

/** A client that reads server-sent events, loses its connection now and then, and comes again with what it had last. */
class Client {
  readonly got: Got[] = []
  connections = 0
  #reply: IncomingMessage | undefined
  #closed = false
  readonly #url: string
  readonly #breakEvery: number

  constructor(url: string, breakEvery: number) {
    this.#url = url
    this.#breakEvery = breakEvery
  }

  /** Resolves when the stream has begun. */
  connect(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const last = this.got.at(-1)?.id
    const asked = request(this.#url, last === undefined ? {} : { headers: { 'last-event-id': last } })
    asked.once('error', reject)
    asked.once('response', (reply) => {
      this.#reply = reply
      this.connections++
      let text = ''
      let here = 0
      reply.setEncoding('utf8')
      reply.on('error', () => {})
      reply.on('data', (chunk: string) => {
        resolve()
        // What was read already still comes; it is as lost as the connection.
        if (reply.destroyed) return
        text += chunk
        const blocks = text.split('\n\n')
        text = blocks.pop() ?? ''
        for (const block of blocks) {
          const id = /^id: (.+)$/m.exec(block)?.[1]
          if (id === undefined) continue
          // Cut in the middle of what is on its way: the rest of the chunk is lost to us.
          if (here++ === this.#breakEvery) {
            reply.destroy()
            break
          }
          this.got.push({ id, ...(JSON.parse(/^data: (.+)$/m.exec(block)?.[1] ?? '') as Omit<Got, 'id'>) })
        }
      })
      reply.once('close', () => {
        if (!this.#closed) void this.connect().catch(() => {})
      })
    })
    asked.end()
    return promise
  }

  close(): void {
    this.#closed = true
    this.#reply?.destroy()
  }
}

async function tenClients(t: TestContext, urls: readonly string[], tell: (n: number) => void): Promise<void> {
  const events = 300
  const clients = Array.from(
    { length: 10 },
    (_, n) => new Client(`${urls[n % urls.length]}/v1/stream?kind=job`, 20 + 3 * n),
  )
  t.after(() => {
    for (const client of clients) client.close()
  })
  await Promise.all(clients.map((client) => client.connect()))
  for (let n = 0; n < events; n++) {
    tell(n)
    if (n % 10 === 0) await new Promise((soon) => setImmediate(soon))
  }
  await until(() => clients.every(({ got }) => got.length >= events), 'everybody has got everything')
  const expected = Array.from({ length: events }, (_, n) => `job-${n}`)
  for (const { got } of clients) {
    assert.deepEqual(
      got.map(({ job_id }) => job_id),
      expected,
    )
  }
  const lost = clients.map(({ connections }) => connections - 1)
  assert.ok(
    lost.every((times) => times >= 3),
    lost.join(),
  )
  t.diagnostic(
    `${events} events to each of 10 clients, who lost their connections ${lost.reduce((a, b) => a + b)} times`,
  )
}

describe('the stream', () => {
  test('brings ten clients that lose their connections what they missed, in two processes over Redis', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    const redis = need(t, 'redis')
    if (clickhouse === null || redis === null) return
    const engine = await openOwnDatabase(t, clickhouse)
    const shared = { redis: { url: redis, key_prefix: `test-${randomUUID()}` } }
    const first = await startApi(t, engine, shared)
    const second = await startApi(t, engine, shared)
    await tenClients(t, [first.url, second.url], (n) => first.onResult(resultOf({ job_id: `job-${n}` })))

    // The same over a WebSocket, from the beginning.
    const socket = new WebSocket(
      `${second.url.replace('http', 'ws')}/v1/stream?kind=snapshot&last_event_id=1-0`,
    )
    const heard: Got[] = []
    socket.addEventListener('message', ({ data }) => heard.push(JSON.parse(String(data)) as Got))
    await until(() => heard.length >= 300, 'every snapshot')
    assert.ok(heard.every(({ kind, id }) => kind === 'snapshot' && /^\d+-\d+$/.test(id)))
    const closed = new Promise((done) => socket.addEventListener('close', done))
    await second.stop()
    await closed
  })

  test('brings ten clients what they missed in one process, in memory', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    if (clickhouse === null) return
    const engine = await openOwnDatabase(t, clickhouse)
    const { url, onResult } = await startApi(t, engine)
    await tenClients(t, [url], (n) => onResult(resultOf({ job_id: `job-${n}` })))
    const wrong = await fetch(`${url}/v1/stream?kind=nothing`)
    assert.equal(((await wrong.json()) as { code: string }).code, 'invalid_request')
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' }
    const foreign = request(`${url}/v1/stream`, {
      headers: {
        ...upgrade,
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        origin: 'https://evil.example',
      },
    })
    const status = new Promise<number | undefined>((told, failed) => {
      foreign.once('error', failed)
      foreign.once('upgrade', () => told(101))
      foreign.once('response', (reply) => {
        reply.resume()
        told(reply.statusCode)
      })
    })
    foreign.end()
    assert.equal(await status, 403)
  })

  test('says that there is a gap when more was missed than is kept', async () => {
    const log = new MemoryLog({ keptMax: 10 })
    const ids: string[] = []
    log.subscribe(({ id }) => ids.push(id))
    for (let n = 0; n < 30; n++)
      await log.append(eventsOf(resultOf({ job_id: `job-${n}`, rows: 0 }), (_platform, id) => id))
    assert.equal((await log.after(ids[0]!)).complete, false)
    const known = await log.after(ids[25]!)
    assert.deepEqual([known.complete, known.events.length], [true, 4])
  })
})
