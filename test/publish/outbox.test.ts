import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { OutRecord } from '../../src/job/record.ts'
import { Outbox, type Sent } from '../../src/publish/outbox.ts'
import { silent } from '../contract/source.ts'

const out = (value: string): OutRecord => ({ key: null, value: Buffer.from(value), headers: {} })
const never = new AbortController().signal

function outbox(answer: (values: string[]) => Sent | Promise<Sent>, over = {}) {
  const sent: string[][] = []
  const options = {
    lingerMs: 1,
    batchRecordsMax: 10,
    batchBytesMax: 100_000,
    bufferBytesMax: 100_000,
    ...over,
  }
  const made = new Outbox(
    'topic',
    options,
    async (_topic, records) => {
      const values = records.map(({ value }) => value!.toString())
      sent.push(values)
      return await answer(values)
    },
    silent,
  )
  return { outbox: made, sent }
}

describe('outbox', () => {
  it('gathers concurrent calls into batches, in order', async () => {
    const { outbox: one, sent } = outbox(() => 'ok')
    await Promise.all(Array.from({ length: 25 }, (_, n) => one.publish([out(String(n))], never)))
    assert.deepEqual(
      sent.flat(),
      Array.from({ length: 25 }, (_, n) => String(n)),
    )
    assert.deepEqual(
      sent.map(({ length }) => length),
      [10, 10, 5],
    )
    assert.equal(one.isEmpty, true)
  })

  it('splits a call that is larger than a batch and resolves it at its last record', async () => {
    const { outbox: one, sent } = outbox(() => 'ok')
    await one.publish(
      Array.from({ length: 23 }, (_, n) => out(String(n))),
      never,
    )
    assert.deepEqual(
      sent.map(({ length }) => length),
      [10, 10, 3],
    )
    await one.publish([], never)
    assert.equal(sent.length, 3)
  })

  it('tries again while the service is away, and says so meanwhile', async () => {
    let turn = 0
    const { outbox: one, sent } = outbox(() => {
      turn += 1
      return turn < 3 ? { away: new Error('down') } : 'ok'
    })
    const publishing = one.publish([out('a')], never)
    while (turn === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    assert.equal(one.away?.message, 'down')
    await publishing
    assert.deepEqual(sent, [['a'], ['a'], ['a']])
    assert.equal(one.away, undefined)
  })

  it('refuses only the record at fault', async () => {
    const { outbox: one } = outbox((values) =>
      values.includes('bad') ? { refused: new Error('too large') } : 'ok',
    )
    const results = await Promise.allSettled(
      ['a', 'bad', 'b'].map((value) => one.publish([out(value)], never)),
    )
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.equal(one.away, undefined)
  })

  it('lets a caller go who gives up, and sends what others wait for', async () => {
    let isAway = true
    const { outbox: one, sent } = outbox(() => (isAway ? { away: new Error('down') } : 'ok'))
    const giveUp = new AbortController()
    const first = one.publish([out('first')], giveUp.signal)
    const second = one.publish([out('second')], never)
    while (sent.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    giveUp.abort(new Error('enough'))
    await assert.rejects(first, /enough/)
    isAway = false
    await second
    assert.deepEqual(sent.at(-1), ['second'])
    await assert.rejects(one.publish([out('late')], giveUp.signal), /enough/)
  })

  it('holds callers back above the bound of its buffer', async () => {
    let release: (() => void) | undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { outbox: one, sent } = outbox(() => held.then(() => 'ok' as const), { bufferBytesMax: 500 })
    const publishing = Array.from({ length: 20 }, () => one.publish([out('x'.repeat(100))], never))
    const giveUp = AbortSignal.timeout(20)
    await assert.rejects(one.publish([out('x')], giveUp), { name: 'TimeoutError' })
    assert.ok(sent.flat().length <= 3, `${sent.flat().length} taken`)
    release?.()
    await Promise.all(publishing)
    assert.equal(sent.flat().length, 20)
  })

  it('sends what is left when it is flushed, and gives up when told', async () => {
    const { outbox: one, sent } = outbox(() => 'ok', { lingerMs: 60_000 })
    const publishing = one.publish([out('a')], never)
    await one.flush(never)
    await publishing
    assert.deepEqual(sent, [['a']])

    const { outbox: dead } = outbox(() => ({ away: new Error('down') }))
    const lost = assert.rejects(dead.publish([out('a')], never), { code: 'PUBLISH_GIVEN_UP' })
    await dead.flush(AbortSignal.timeout(20))
    await lost
  })
})
