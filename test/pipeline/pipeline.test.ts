import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HEADERS } from '../../src/job/job.ts'
import { headerText } from '../../src/job/record.ts'
import { Bench, COUNTER, JOB, json } from './pipeline-bench.ts'

test('stores pictures, then rows, then follow-ups, then the result, and only then settles', async () => {
  const bench = new Bench()
  await bench.deliver({
    ...JOB,
    campaign: 'x',
    params: { pictures: ['http://p/1', 'http://p/bad'], pages: 2 },
  })
  assert.deepEqual(bench.trail, [
    ...['picture', 'picture', 'rows', 'publish jobs', 'mark', 'publish results', 'settle'],
  ])
  const [result] = bench.results()
  assert.equal(result?.status, 'done')
  assert.equal(result?.creator_id, 'Ada')
  assert.equal(result?.attempts, 1)
  assert.deepEqual(result?.pictures, ['pictures/ab/abc/full.jpg'])
  assert.equal(result?.pictures_rejected[0]?.reason, 'picture_rejected')
  assert.deepEqual(result?.data, { count: 7 })
  const [rows] = bench.written
  assert.equal(rows?.creatorId, 'ada')
  assert.equal(rows?.tsMs, 1_700_000_000_000)
  assert.deepEqual(
    rows?.rows.map((row) => row.table),
    ['points', 'pictures', 'jobs'],
  )
})

test("follow-ups carry ids and times derived from their parent's", async () => {
  const bench = new Bench()
  const job = { ...JOB, job_id: 'parent', campaign: 'x', params: { pages: 2 } }
  await bench.deliver(job)
  // Stored all and crashed before the mark.
  bench.store.clear()
  await bench.deliver(job)
  const followUps = bench.published
    .filter(({ topic }) => topic === 'jobs')
    .map(({ record }) => JSON.parse(String(record.value)))
  assert.deepEqual(
    followUps.map(({ job_id }) => job_id),
    ['parent/0', 'parent/1', 'parent/0', 'parent/1'],
  )
  assert.equal(followUps[0].requested_at, '2023-11-14T22:13:20.000Z')
  assert.equal(followUps[0].campaign, 'x')
})

test('what its producer traces goes along with all that becomes of a record', async () => {
  const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' }
  const headers = Object.fromEntries(Object.entries(trace).map(([name, text]) => [name, Buffer.from(text)]))
  const bench = new Bench(COUNTER, { waitingMax: 1 })
  await bench.deliver({ ...JOB, job_id: 'parent', params: { pages: 2 } }, headers)
  // Ended before: its result is sent again.
  await bench.deliver({ ...JOB, job_id: 'parent', params: { pages: 2 } }, headers)
  await bench.deliver({ ...JOB, job_type: 'unheard' }, headers)
  await bench.deliver(Buffer.from('no job'), headers)
  bench.reply = () => json(429, {}, { 'retry-after': '100' })
  await bench.deliver(JOB, headers)
  bench.reply = () => json(200, { count: 7 })
  bench.desk.pause('counter', 'test')
  const waiting = bench.deliver(JOB, headers)
  await bench.deliver(JOB, headers)
  bench.desk.resume('counter')
  await waiting
  assert.deepEqual(
    bench.published.map(({ topic }) => topic).sort(),
    ['dead', 'dead', 'jobs', 'jobs', 'parked', ...Array(5).fill('results'), 'retry.5m'].sort(),
  )
  for (const { topic, record } of bench.published) {
    for (const [name, text] of Object.entries(trace))
      assert.equal(headerText(record.headers, name), text, topic)
  }

  // One that no trace has does not make results too large for their topic.
  const other = new Bench()
  await other.deliver(JOB, { ...headers, tracestate: Buffer.alloc(513) })
  assert.deepEqual(Object.keys(other.published[0]!.record.headers), ['traceparent'])
})

test('ids of follow-ups of follow-ups stay short and differ', async () => {
  const bench = new Bench()
  for (const first of ['a', 'b']) {
    let id = `${first}${'x'.repeat(190)}`
    for (let depth = 0; depth < 60; depth++) {
      await bench.deliver({ ...JOB, job_id: id, params: { pages: 1 } })
      id = JSON.parse(String(bench.published.findLast(({ topic }) => topic === 'jobs')?.record.value)).job_id
      assert.ok(id.length <= 200, id)
    }
  }
  const ids = bench.published
    .filter(({ topic }) => topic === 'jobs')
    .map(({ record }) => String(record.value))
  assert.equal(new Set(ids).size, 120)
})

test('of a job that somebody watches it is told when it begins and when it waits again, of no other', async () => {
  const bench = new Bench()
  const watched = { [HEADERS.watched]: Buffer.from('1') }
  await bench.deliver({ ...JOB, job_id: 'of nobody' })
  await bench.deliver({ ...JOB, job_id: 'wrong', creator_id: 'a b' }, watched)
  assert.deepEqual(bench.progress, [], 'what makes no call never begins')
  bench.reply = () => json(503, {}, { 'retry-after': '3600' })
  await bench.deliver({ ...JOB, job_id: 'one' }, watched)
  assert.deepEqual(bench.progress, ['begun one', 'waits one'])
  // Whoever tries it next knows that it is watched.
  const retry = bench.published.at(-1)?.record
  assert.equal(headerText(retry?.headers ?? {}, HEADERS.watched), '1')
  bench.reply = () => json(200, { count: 7 })
  await bench.deliver({ ...JOB, job_id: 'one' }, retry?.headers)
  assert.deepEqual(bench.progress.slice(2), ['begun one'], 'its result says the rest')
})

test('what no part expects is tried again, and leaves no record unfinished', async () => {
  const bench = new Bench()
  let failures = 0
  bench.failOnce = () => {
    failures++
    throw new TypeError('a mark that nobody can read')
  }
  await bench.deliver(JOB)
  assert.equal(failures, 1)
  assert.equal(bench.results()[0]?.status, 'done')
})

test('a job of a lost partition stays unsettled', async () => {
  const bench = new Bench()
  let asked = () => {}
  const called = new Promise<void>((resolve) => {
    asked = resolve
  })
  bench.reply = () => {
    asked()
    return new Promise((_resolve, reject) => setImmediate(() => reject(new Error('aborted'))))
  }
  void bench.deliver(JOB)
  await called
  bench.lose()
  await bench.idle()
  assert.deepEqual(bench.trail, [])
})

test('when most jobs of a platform die for reasons of ours, it is paused', async () => {
  const bench = new Bench(COUNTER, { deadSample: 4 })
  bench.reply = () => json(401, {})
  for (let i = 0; i < 4; i++) await bench.deliver(JOB)
  await bench.idle()
  assert.equal(bench.desk.paused[0]?.platform, 'counter')
})
