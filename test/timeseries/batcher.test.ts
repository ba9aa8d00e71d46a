import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { after, describe, test } from 'node:test'
import { RowsRejectedError } from '../../src/job/row.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { BATCHER_LIMITS, Batcher, type BatcherLimits } from '../../src/timeseries/batcher.ts'
import type { Parcel } from '../../src/timeseries/encode.ts'
import type { Batch, Inserted } from '../../src/timeseries/insert.ts'
import { until } from '../until.ts'
import { isSettled, never, silent } from './support.ts'

interface Call {
  readonly batch: Batch
  readonly atMs: number
  readonly store: () => void
  readonly refuse: () => void
  readonly fail: () => void
}

/** Set at the end: from then on the engine stores everything at once, so that no test leaves a batch waiting for its age. */
let ending = false
const opened: { batcher: Batcher; calls: Call[] }[] = []
after(async () => {
  ending = true
  for (const { batcher, calls } of opened) {
    for (const call of calls) call.store()
    await batcher.stop(1_000)
  }
})

/** A batcher over an engine that answers when the test says so, and remembers what it was sent. */
function batcherOver(limits: Partial<BatcherLimits>) {
  const calls: Call[] = []
  const metrics = createMetrics()
  const batcher = new Batcher({
    limits: { ...BATCHER_LIMITS, ageMs: 60_000, backoffMsMin: 1, backoffMsMax: 4, ...limits },
    metrics,
    log: silent,
    now: () => performance.now(),
    insert: (batch) => {
      if (ending) return Promise.resolve({ status: 'stored' })
      const { promise, resolve, reject } = Promise.withResolvers<Inserted>()
      calls.push({
        batch,
        atMs: performance.now(),
        store: () => resolve({ status: 'stored' }),
        refuse: () => resolve({ status: 'refused', message: 'a bad value' }),
        fail: () => reject(new Error('away')),
      })
      return promise
    },
  })
  opened.push({ batcher, calls })
  return { batcher, calls, metrics }
}

function parcel(rows: number, fields: Partial<Parcel> = {}): Parcel {
  const text = `${JSON.stringify(fields.text ?? 'row')}\n`.repeat(rows)
  return { table: 'points', partition: '202611', rows, bytes: text.length, ...fields, text }
}

async function gaugeOf(
  metrics: ReturnType<typeof createMetrics>,
  table: string,
): Promise<number | undefined> {
  const { values } = await metrics.rows_buffered.get()
  return values.find((value) => value.labels.table === table)?.value
}

describe('the batcher', () => {
  test('sends a batch when it has its rows, and acknowledges every write that it holds', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 10 })
    const writes = [batcher.write([parcel(4)], never), batcher.write([parcel(4)], never)]
    assert.equal(calls.length, 0)
    writes.push(batcher.write([parcel(2)], never))
    assert.deepEqual(
      calls.map((call) => call.batch.rows),
      [10],
    )
    for (const write of writes) assert.equal(await isSettled(write), false)
    calls[0]?.store()
    await Promise.all(writes)
  })

  test('never makes a batch larger than its limits, except of one parcel that is larger itself', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 10, inFlightMax: 9 })
    const writes = [6, 6, 25].map((rows) => batcher.write([parcel(rows)], never))
    assert.deepEqual(
      calls.map((call) => call.batch.rows),
      [6, 6, 25],
    )
    for (const call of calls) call.store()
    await Promise.all(writes)
  })

  test('sends a batch when it has its bytes', async () => {
    const { batcher, calls } = batcherOver({ bytesMax: 30 })
    const write = batcher.write([parcel(4, { bytes: 24 })], never)
    assert.equal(calls.length, 0)
    const other = batcher.write([parcel(1, { bytes: 6 })], never)
    assert.deepEqual(
      calls.map((call) => call.batch.rows),
      [5],
    )
    calls[0]?.store()
    await Promise.all([write, other])
  })

  test('sends a batch when its first row is old enough', async () => {
    const { batcher, calls } = batcherOver({ ageMs: 40 })
    const startedMs = performance.now()
    const write = batcher.write([parcel(1)], never)
    await until(() => calls.length === 1, 'the old batch is sent')
    assert.ok((calls[0]?.atMs ?? 0) - startedMs >= 39, 'not before its age')
    calls[0]?.store()
    await write
  })

  test('keeps tables and partitions apart', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 2, inFlightMax: 9 })
    const october = parcel(1, { partition: '202610' })
    const media = parcel(1, { table: 'media', partition: 'all' })
    const writes = [0, 1].map(() => batcher.write([parcel(1), october, media], never))
    const sent = calls.map((call) => [call.batch.table, call.batch.rows])
    assert.deepEqual(sent, [
      ['points', 2],
      ['points', 2],
      ['media', 2],
    ])
    calls[0]?.store()
    calls[1]?.store()
    assert.equal(await isSettled(Promise.race(writes)), false)
    calls[2]?.store()
    await Promise.all(writes)
  })

  test('keeps at most two inserts in flight, and lets an old batch grow while it waits for its place', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 10, ageMs: 1 })
    const writes = [10, 10, 1].map((rows) => batcher.write([parcel(rows)], never))
    await until(() => performance.now() - (calls[1]?.atMs ?? Number.NaN) > 5, 'the third is old')
    writes.push(batcher.write([parcel(3)], never))
    assert.deepEqual(
      calls.map((call) => call.batch.rows),
      [10, 10],
    )
    calls[0]?.store()
    await until(() => calls.length === 3, 'the place is taken')
    assert.equal(calls[2]?.batch.rows, 4)
    for (const call of calls) call.store()
    await Promise.all(writes)
  })

  test('does not let a busy table starve a quiet one', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 10, ageMs: 1, inFlightMax: 1 })
    const writes = [batcher.write([parcel(10)], never), batcher.write([parcel(1, { table: 'jobs' })], never)]
    await until(() => performance.now() - (calls[0]?.atMs ?? Number.NaN) > 5, 'the quiet one is old')
    for (let n = 0; n < 5; n += 1) writes.push(batcher.write([parcel(10)], never))
    calls[0]?.store()
    await until(() => calls.length === 2, 'the next is sent')
    assert.equal(calls[1]?.batch.table, 'jobs')
    for (let n = 1; n < 7; n += 1) {
      await until(() => calls.length > n, 'the next is sent')
      calls[n]?.store()
    }
    await Promise.all(writes)
  })

  test('repeats a failed insert byte for byte, and is unhealthy meanwhile', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 3 })
    assert.equal(batcher.healthy, true)
    const write = batcher.write([parcel(3)], never)
    for (let failures = 1; failures <= 6; failures += 1) {
      calls[failures - 1]?.fail()
      await until(() => calls.length === failures + 1, 'the insert is repeated')
      assert.equal(batcher.healthy, false)
    }
    for (const call of calls) assert.deepEqual(call.batch, calls[0]?.batch)
    assert.equal(await isSettled(write), false)
    calls.at(-1)?.store()
    await write
    assert.equal(batcher.healthy, true)
  })

  test('halves a refused batch until only the guilty write is rejected', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 16 })
    const writes = Array.from({ length: 16 }, (_, n) => {
      return batcher.write([parcel(1, { text: n === 5 || n === 12 ? 'bad' : 'good' })], never)
    })
    const answering = (async () => {
      for (let n = 0; ; n += 1) {
        await until(() => calls.length > n || batcher.bufferedRows === 0, 'the next insert comes')
        if (calls.length <= n) return
        if (calls[n]?.batch.text.includes('bad')) calls[n]?.refuse()
        else calls[n]?.store()
      }
    })()
    const ends = await Promise.allSettled(writes)
    await answering
    for (const [n, end] of ends.entries()) {
      assert.equal(end.status, n === 5 || n === 12 ? 'rejected' : 'fulfilled', `write ${n}`)
      if (end.status === 'rejected') assert.ok(end.reason instanceof RowsRejectedError)
    }
    assert.equal(batcher.healthy, true, 'a refusal is no outage')
    assert.ok(calls.length <= 1 + 2 * 2 * Math.log2(16), `${calls.length} inserts`)
  })

  test('makes writers wait while the buffer is full, first come first served', async () => {
    const { batcher, calls, metrics } = batcherOver({ rowsMax: 10, bufferRowsMax: 20, inFlightMax: 1 })
    const writes = Array.from({ length: 4 }, () => batcher.write([parcel(10)], never))
    assert.equal(batcher.bufferedRows, 20)
    assert.equal(batcher.waitingWrites, 2)
    assert.equal(await gaugeOf(metrics, 'points'), 20)
    const small = batcher.write([parcel(1, { table: 'jobs' })], never)
    assert.equal(batcher.waitingWrites, 3, 'nobody passes')
    for (let n = 0; n < 4; n += 1) {
      await until(() => calls.length === n + 1, 'the next batch is sent')
      assert.ok(batcher.bufferedRows <= 20)
      calls[n]?.store()
      await writes[n]
    }
    assert.equal(batcher.waitingWrites, 0)
    const stopped = batcher.stop(5_000)
    await until(() => calls.length === 5, 'the small one is flushed')
    calls[4]?.store()
    await Promise.all([small, stopped])
    assert.equal(await gaugeOf(metrics, 'points'), 0)
  })

  test('bounds the bytes of its buffer too, and admits alone what is larger than the buffer', async () => {
    const { batcher, calls } = batcherOver({ bytesMax: 50, bufferBytesMax: 100 })
    const writes = [60, 60, 300].map((bytes) => batcher.write([parcel(1, { bytes })], never))
    for (let n = 0; n < 3; n += 1) {
      await until(() => calls.length === n + 1, 'the next batch is sent')
      assert.equal(batcher.waitingWrites, 2 - n)
      calls[n]?.store()
      await writes[n]
    }
  })

  test('lets go of a write whose signal is aborted, whether it waits for room or for its insert', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 10, bufferRowsMax: 10 })
    const inFlight = new AbortController()
    const waiting = new AbortController()
    const first = batcher.write([parcel(10)], inFlight.signal)
    const second = batcher.write([parcel(10)], waiting.signal)
    const third = batcher.write([parcel(10)], never)
    waiting.abort()
    await assert.rejects(second, { name: 'AbortError' })
    inFlight.abort(new Error('the job was given up'))
    await assert.rejects(first, { name: 'AbortError' })
    await assert.rejects(batcher.write([parcel(1)], AbortSignal.abort()), { name: 'AbortError' })
    calls[0]?.store()
    await until(() => calls.length === 2, 'who waited behind is admitted')
    calls[1]?.store()
    await third
  })

  test('puts one listener on a signal that many writes share, and takes it off again', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 40, bufferRowsMax: 40 })
    const shared = new AbortController()
    const writes = Array.from({ length: 60 }, () => batcher.write([parcel(1)], shared.signal))
    assert.equal(batcher.waitingWrites, 20)
    assert.equal(getEventListeners(shared.signal, 'abort').length, 1)
    calls[0]?.store()
    await Promise.all(writes.slice(0, 40))
    assert.equal(getEventListeners(shared.signal, 'abort').length, 1)
    const stopped = batcher.stop(5_000)
    await until(() => calls.length === 2, 'the rest is flushed')
    calls[1]?.store()
    await Promise.all([...writes, stopped])
    assert.equal(getEventListeners(shared.signal, 'abort').length, 0)
    // And again, on the same signal.
    const again = batcherOver({ rowsMax: 10 })
    const write = again.batcher.write([parcel(1)], shared.signal)
    shared.abort()
    await assert.rejects(write, { name: 'AbortError' })
  })

  test('inserts snapshots of creators one batch at a time, and other tables beside them', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 1, inFlightMax: 3 })
    const creators = () => batcher.write([parcel(1, { table: 'creators', partition: 'all' })], never)
    const writes = [creators(), creators(), batcher.write([parcel(1)], never)]
    const sent = () => calls.map((call) => call.batch.table)
    assert.deepEqual(sent(), ['creators', 'points'])
    calls[1]?.store()
    await writes[2]
    assert.deepEqual(sent(), ['creators', 'points'])
    calls[0]?.fail()
    await until(() => calls.length === 3, 'the first is repeated')
    calls[2]?.store()
    await writes[0]
    await until(() => calls.length === 4, 'the second goes')
    calls[3]?.store()
    await writes[1]
    assert.deepEqual(sent(), ['creators', 'points', 'creators', 'creators'])
  })

  test('flushes at once when it stops, and refuses what comes later', async () => {
    const { batcher, calls } = batcherOver({})
    const write = batcher.write([parcel(3)], never)
    const stopped = batcher.stop(5_000)
    assert.equal(calls.length, 1)
    await assert.rejects(batcher.write([parcel(1)], never), { name: 'AbortError' })
    calls[0]?.store()
    await Promise.all([write, stopped])
  })

  test('gives up at the end of its stop when the engine stays away, acknowledging nothing', async () => {
    const { batcher, calls } = batcherOver({ rowsMax: 3 })
    const write = batcher.write([parcel(3)], never)
    const refused = assert.rejects(write, { name: 'AbortError' })
    const stopped = batcher.stop(30)
    const failing = setInterval(() => calls.at(-1)?.fail(), 1)
    await stopped
    clearInterval(failing)
    await refused
  })
})
