import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import sharp from 'sharp'
import { PicturePool } from '../../src/images/pool.ts'
import { poolSize, poolSizeWithin } from '../../src/images/pool-size.ts'
import { DEFAULT_ENCODER, DEFAULT_LIMITS } from '../../src/images/resize-task.ts'
import { DEFAULT_VARIANTS } from '../../src/images/variants.ts'
import { MillraceError } from '../../src/job/errors.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { until } from '../until.ts'
import { drawn } from './sources.ts'
import { LOG, openPool } from './stage-parts.ts'

const never = new AbortController().signal

function requestOf(bytes: Buffer) {
  return { bytes: Buffer.from(bytes), sha256: randomBytes(32).toString('hex') }
}

/** Takes a good while in the codec: AVIF at high effort. */
const SLOW = {
  variants: [
    { name: 'slow', width: 400, height: 400, fit: 'inside' as const, format: 'avif' as const, quality: 60 },
  ],
  encoder: { ...DEFAULT_ENCODER, avifEffort: 4 },
}

test('what is in the codec stays below the threads that files and names need', () => {
  assert.deepEqual(poolSize(2), { threads: 2, tasksInFlightMax: 4, uvThreads: 8 })
  assert.deepEqual(poolSizeWithin(8, 2), { threads: 2, tasksInFlightMax: 4, uvThreads: 8 })
  assert.deepEqual(poolSizeWithin(4, 2), { threads: 2, tasksInFlightMax: 2, uvThreads: 4 })
  assert.deepEqual(poolSizeWithin(4, 16), { threads: 2, tasksInFlightMax: 2, uvThreads: 4 })
  assert.deepEqual(poolSizeWithin(1, 8), { threads: 1, tasksInFlightMax: 1, uvThreads: 1 })
  for (let cores = 1; cores < 130; cores++)
    assert.ok(poolSize(cores).tasksInFlightMax < poolSize(cores).uvThreads)
})

test('starts and stops, twice each', async (t) => {
  const { pool } = await openPool(t)
  await pool.start()
  await pool.start()
  await pool.stop()
  await pool.stop()
})

test('gives back variants whose memory is their own, and takes the source away', async (t) => {
  const { pool } = await openPool(t)
  await pool.start()
  const jpeg = await drawn(400, 300).jpeg().toBuffer()
  const own = new Uint8Array(jpeg)
  const result = await pool.resize({ bytes: own, sha256: 'a'.repeat(64) }, never)
  assert.equal(own.byteLength, 0, 'transferred')
  const pooled = Buffer.from('x')
  await pool.resize({ bytes: pooled, sha256: 'b'.repeat(64) }, never)
  assert.equal(pooled.byteLength, 1, "Node's own buffer pool is copied, not taken")
  assert.ok(result.status === 'made')
  for (const { bytes } of result.made) assert.equal(bytes.byteLength, bytes.buffer.byteLength)
  assert.ok(result.timings.decodeMs > 0 && result.timings.encodeMs > 0)
})

test('the waiting are counted, and leave when they are aborted', async (t) => {
  const { pool, metrics } = await openPool(t, SLOW)
  await pool.start()
  const jpeg = await drawn(700, 700).jpeg().toBuffer()
  const running = Array.from({ length: pool.tasksInFlightMax }, () => pool.resize(requestOf(jpeg), never))
  const control = new AbortController()
  const waiting = pool.resize(requestOf(jpeg), control.signal)
  const gauge = async () => (await metrics.picture_pool_queue_size.get()).values[0]?.value
  assert.equal(await gauge(), 1)
  control.abort(new Error('not any more'))
  await assert.rejects(waiting, /not any more/)
  assert.equal(await gauge(), 0)
  for (const result of await Promise.all(running)) assert.equal(result.status, 'made')
})

test('an aborted picture is let go of at once, keeps its place, and can be asked for again', async (t) => {
  const { pool } = await openPool(t, { ...SLOW, uvThreads: 3 })
  await pool.start()
  const jpeg = await drawn(700, 700).jpeg().toBuffer()
  assert.equal(pool.tasksInFlightMax, 1)
  const control = new AbortController()
  const started = Promise.withResolvers<void>()
  const request = requestOf(jpeg)
  const first = pool.resize(request, control.signal, () => started.resolve())
  await started.promise
  control.abort(new Error('enough'))
  await assert.rejects(first, /enough/)
  // The codec has it still; the same picture waits behind it, and is not marked twice.
  const again = await pool.resize({ ...requestOf(jpeg), sha256: request.sha256 }, never)
  assert.equal(again.status, 'made')
})

test('a picture that takes too long is rejected in time, and its stuck place is reported', async (t) => {
  const stuck: string[] = []
  const { pool } = await openPool(t, {
    ...SLOW,
    limits: { ...DEFAULT_LIMITS, timeoutMs: 20 },
    stuckAfterMs: 40,
    onStuck: (sha256) => stuck.push(sha256),
  })
  await pool.start()
  const request = requestOf(await drawn(500, 500).jpeg().toBuffer())
  const result = await pool.resize(request, never)
  assert.ok(result.status === 'rejected' && /longer than 20 ms/.test(result.why))
  await until(() => stuck.length === 1, 'stuck')
  assert.deepEqual(stuck, [request.sha256])
  await until(() => !pool.stuck, 'the codec ended after all')
})

test('of eight pictures, the one that takes too long is the only one hurt', async (t) => {
  const { pool } = await openPool(t, {
    variants: [{ ...SLOW.variants[0]!, width: 800, height: 800 }],
    encoder: SLOW.encoder,
    uvThreads: poolSize().uvThreads,
    limits: { ...DEFAULT_LIMITS, timeoutMs: 60_000 },
  })
  await pool.start()
  const [large, small] = [
    await sharp(randomBytes(800 * 800 * 3), { raw: { width: 800, height: 800, channels: 3 } })
      .jpeg({ quality: 100 })
      .toBuffer(),
    await drawn(40, 40).jpeg().toBuffer(),
  ]
  // Its time is over when the small ones are done, however long they took; the large one takes a hundred times as long.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const [tooLong, ...others] = [large, ...Array(7).fill(small)].map((jpeg) =>
    pool.resize(requestOf(jpeg), never),
  )
  const results = await Promise.all(others)
  t.mock.timers.tick(60_000)
  const late = await tooLong!
  // The pool stops by the real clock.
  t.mock.timers.reset()
  assert.deepEqual(
    results.map(({ status }) => status),
    Array(7).fill('made'),
  )
  assert.ok(late.status === 'rejected' && /longer than 60000 ms/.test(late.why), JSON.stringify(late.status))
})

test('a thread that dies hurts at most the pictures it had, and another one takes its place', async (t) => {
  const threads = threadsStarted(t)
  const { pool } = await openPool(t, { ...SLOW, uvThreads: poolSize().uvThreads })
  await pool.start()
  const jpeg = await drawn(500, 500).jpeg().toBuffer()
  let started = 0
  const asked = Array.from({ length: 12 }, () => pool.resize(requestOf(jpeg), never, () => started++))
  await until(() => started >= pool.tasksInFlightMax, 'a full pool')
  const before = threads.length
  await threads[0]!.terminate()
  const results = await Promise.all(asked)
  const hurt = results.filter((result) => result.status === 'rejected')
  t.diagnostic(
    `${hurt.length} of ${asked.length} pictures hurt: ${[...new Set(hurt.map(({ why }) => why))].join(', ')}`,
  )
  assert.ok(hurt.length <= Math.ceil(pool.tasksInFlightMax / before), `${hurt.length} hurt`)
  for (const result of hurt) assert.match(result.why, /the worker failed/)
  assert.ok(
    hurt.every(({ passing }) => passing),
    'nobody remembers them as bad',
  )
  assert.equal(threads.length, before + 1)
  assert.equal((await pool.resize(requestOf(jpeg), never)).status, 'made')
})

/** The worker threads of this process, from now on. */
function threadsStarted(t: TestContext): Worker[] {
  const threads: Worker[] = []
  const add = (worker: Worker) => threads.push(worker)
  process.on('worker', add)
  t.after(() => process.off('worker', add))
  return threads
}

test('stopping waits for what is in the codec and aborts what waits', async (t) => {
  const { pool } = await openPool(t, { ...SLOW, uvThreads: 3 })
  await pool.start()
  const jpeg = await drawn(700, 700).jpeg().toBuffer()
  const started = Promise.withResolvers<void>()
  const running = pool.resize(requestOf(jpeg), never, () => started.resolve())
  await started.promise
  const waiting = assert.rejects(pool.resize(requestOf(jpeg), never), { name: 'AbortError' })
  await pool.stop()
  await waiting
  assert.equal((await running).status, 'made')
  await assert.rejects(pool.resize(requestOf(jpeg), never), { name: 'AbortError' })
})

test('marks that cannot be written keep the pool from starting', async () => {
  const failing = {
    start: () => Promise.reject(new MillraceError('X', 'no')),
    stop: async () => {},
    begin: async () => 0,
    end: async () => {},
  }
  const options = { variants: DEFAULT_VARIANTS, limits: DEFAULT_LIMITS, encoder: DEFAULT_ENCODER }
  const pool = new PicturePool(options, { marks: failing, metrics: createMetrics(), log: LOG })
  await assert.rejects(() => pool.start(), MillraceError)
  await pool.stop()
})

test('memory does not grow with the number of pictures', async (t) => {
  // Large outputs, so that leaking them (as sharp's toUint8Array does) would show: 300 × 0.6 MB.
  const noise = await sharp(randomBytes(600 * 600 * 3), { raw: { width: 600, height: 600, channels: 3 } })
    .jpeg()
    .toBuffer()
  const { pool } = await openPool(t, { variants: [{ ...DEFAULT_VARIANTS[0]!, quality: 100 }] })
  await pool.start()
  let outputBytes = 0
  const batch = async (count: number) => {
    for (let done = 0; done < count; done += 4) {
      const results = await Promise.all(Array.from({ length: 4 }, () => pool.resize(requestOf(noise), never)))
      for (const result of results) {
        if (result.status !== 'made') assert.fail(result.why)
        outputBytes += result.made[0]!.bytes.byteLength
      }
    }
  }
  let before = 0
  for (let round = 0; round < 5; round++) {
    await batch(30)
    before = Math.max(before, process.memoryUsage().rss)
  }
  outputBytes = 0
  await batch(300)
  const grown = process.memoryUsage().rss - before
  t.diagnostic(
    `rss grew by ${(grown / 1e6).toFixed(1)} MB over 300 pictures, ${(outputBytes / 1e6).toFixed(0)} MB of output`,
  )
  // Collectors take their time: only half of what was made counts as a leak. (2,000 pictures in a row: flat, 350 MB.)
  assert.ok(outputBytes > 150_000_000 && grown < outputBytes / 2, `${grown} bytes`)
})

test('the event loop stays free while the pool is full', async (t) => {
  const { pool } = await openPool(t, { uvThreads: poolSize().uvThreads })
  await pool.start()
  const jpeg = await drawn(1080, 1080).jpeg().toBuffer()
  await Promise.all(Array.from({ length: 8 }, () => pool.resize(requestOf(jpeg), never)))
  let [turns, working] = [0, true]
  const turn = () => {
    turns += 1
    if (working) setImmediate(turn)
  }
  turn()
  await Promise.all(Array.from({ length: 60 }, () => pool.resize(requestOf(jpeg), never)))
  working = false
  // Turns, not milliseconds: how long one may take is measured by native-bench. With the codec on this thread there would be
  // one or two for each picture.
  assert.ok(turns > 60 * 20, `${turns} turns of the loop beside 60 pictures`)
})
