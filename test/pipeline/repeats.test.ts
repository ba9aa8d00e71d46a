import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HEADERS } from '../../src/job/job.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { Bench, COUNTER, JOB, json } from './pipeline-bench.ts'

/** What must be the same in every result of a job. */
function said({ replayed: _replayed, ...result }: ResultMessage) {
  return result
}

test('a job that is delivered again after it has ended is not fetched again: the same result is sent, marked', async () => {
  const bench = new Bench()
  let calls = 0
  bench.reply = () => json(200, { count: ++calls })
  await bench.deliver({ ...JOB, job_id: 'one' })
  bench.trail.length = 0
  await bench.deliver({ ...JOB, job_id: 'one' })
  assert.equal(calls, 1)
  assert.deepEqual(bench.trail, ['publish results', 'settle'])
  const [first, second] = bench.results()
  assert.deepEqual([first?.replayed, second?.replayed], [false, true])
  assert.deepEqual(said(second!), said(first!))
  await bench.idle()
  const replayed = await bench.metrics.jobs_replayed_total.get()
  assert.deepEqual(
    replayed.values.map(({ labels, value }) => [labels.platform, value]),
    [['counter', 1]],
  )
  assert.equal(bench.pipeline.counts.finished.done, 1)
})

for (const [what, other] of [
  ['another creator', { creator_id: 'Bob' }],
  ['another logical time', { requested_at: '2024-01-01T00:00:00Z' }],
] as const) {
  test(`the same id for ${what} is another job`, async () => {
    const bench = new Bench()
    await bench.deliver({ ...JOB, job_id: 'one' })
    await bench.deliver({ ...JOB, job_id: 'one', ...other })
    assert.deepEqual(
      bench.results().map(({ replayed }) => replayed),
      [false, false],
    )
  })
}

test('a dead letter that was sent back is done anew, once', async () => {
  const bench = new Bench()
  bench.reply = () => json(404, {})
  await bench.deliver({ ...JOB, job_id: 'one' })
  bench.reply = () => json(200, { count: 7 })
  const replay = {
    [HEADERS.replayOf]: Buffer.from('0-0'),
    [HEADERS.replayedAt]: Buffer.from('1700000000000'),
  }
  await bench.deliver({ ...JOB, job_id: 'one' }, replay)
  await bench.deliver({ ...JOB, job_id: 'one' }, replay)
  assert.deepEqual(
    bench.results().map(({ status, replayed }) => [status, replayed]),
    [
      ['dead', false],
      ['done', false],
      ['done', true],
    ],
  )
})

test('a dead letter that was no job and is sent back as it was is a dead letter again, once', async () => {
  const bench = new Bench()
  await bench.deliver(Buffer.from('no job'))
  const [letter] = bench.published
  assert.equal(letter?.topic, 'dead')
  const replay = { ...letter.record.headers, [HEADERS.replayOf]: Buffer.from('0-0') }
  await bench.deliver(Buffer.from('no job'), replay)
  await bench.deliver(Buffer.from('no job'), replay)
  assert.equal(bench.published.filter(({ topic }) => topic === 'dead').length, 2)
  assert.deepEqual(
    bench.results().map(({ replayed }) => replayed),
    [false, false, true],
  )
})

test('wherever a daemon dies, the job’s results are all the same, and all that follows from it is stored', async () => {
  const job = { ...JOB, job_id: 'one', params: { pictures: ['http://p/1'], pages: 1 } }
  for (const [reply, value] of [
    [json(200, { count: 0 }), job],
    [json(404, {}), job],
    [json(500, {}), Buffer.from('no job')],
  ] as const) {
    let calls = 0
    const counting = () => (reply.status === 200 ? json(200, { count: ++calls }) : reply)
    let finished = 0
    for (let callsLeft = 0; finished === 0; callsLeft++) {
      const first = new Bench()
      first.reply = counting
      first.callsLeft = callsLeft
      const settled = first.deliver(value).then(() => finished++)
      await Promise.race([settled, first.hung.promise])
      const second = new Bench(COUNTER, { store: first.store })
      second.reply = counting
      await second.deliver(value)
      const results = [...first.results(), ...second.results()]
      assert.ok(results.length > 0)
      for (const result of results)
        assert.deepEqual(said(result), said(results[0]!), `after ${callsLeft} calls`)
      const written = [...first.written, ...second.written].map(({ rows }) => rows.at(-1))
      assert.ok(written.length > 0 || value !== job)
      const published = [...first.published, ...second.published].map(({ topic }) => topic)
      assert.ok(published.includes(reply.status === 200 ? 'jobs' : 'dead'), `after ${callsLeft} calls`)
    }
  }
})

test('a creator that was scraped within min_interval is skipped without a call, unless by the very same job', async () => {
  const options = { minIntervalsMs: { profile: 60_000 } }
  const bench = new Bench(COUNTER, options)
  let calls = 0
  bench.reply = () => json(200, { count: ++calls })
  await bench.deliver({ ...JOB, job_id: 'one' })
  await bench.deliver({ ...JOB, job_id: 'two', creator_id: 'ADA' })
  await bench.deliver({ ...JOB, job_id: 'three', creator_id: 'Bob' })
  assert.deepEqual(
    bench.results().map(({ status, reason }) => [status, reason]),
    [
      ['done', null],
      ['skipped', 'fresh'],
      ['done', null],
    ],
  )
  assert.equal(calls, 2)
  // Died after its rows, before it was marked as ended.
  for (const mark of [...bench.store.keys()].filter((name) => name.includes('"one"')))
    bench.store.delete(mark)
  await bench.deliver({ ...JOB, job_id: 'one' })
  assert.equal(bench.results().at(-1)?.status, 'done')
})
