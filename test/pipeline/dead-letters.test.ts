import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HEADERS } from '../../src/job/job.ts'
import { headerText } from '../../src/job/record.ts'
import { Bench, JOB, json } from './pipeline-bench.ts'

test('a malformed record is a dead letter with its bytes untouched, and has a result', async () => {
  const bench = new Bench()
  const bytes = Buffer.from([0x7b, 0xff, 0x00])
  await bench.deliver(bytes, { mine: Buffer.from([1, 2]) })
  const dead = bench.published.find(({ topic }) => topic === 'dead')?.record
  assert.deepEqual(dead?.value, bytes)
  assert.deepEqual(dead?.headers.mine, Buffer.from([1, 2]))
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.reason), 'malformed')
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.originalOffset), '0')
  assert.equal(bench.results()[0]?.status, 'dead')
})

for (const [name, job, reason] of [
  ['an unknown platform', { ...JOB, platform: 'myspace' }, 'unknown_platform'],
  ['a prototype name for a platform', { ...JOB, platform: '__proto__' }, 'unknown_platform'],
  ['an unknown job type', { ...JOB, job_type: 'toString' }, 'unknown_job_type'],
  ['params of the wrong type', { ...JOB, params: { pages: 'many' } }, 'invalid_params'],
  ['a creator id that cannot be one', { ...JOB, creator_id: 'a b' }, 'invalid_params'],
  ['a job past its time', { ...JOB, expires_at: '2001-01-01T00:00:00Z' }, 'expired'],
  ['an adapter that fails', { ...JOB, job_type: 'broken' }, 'internal'],
] as const) {
  test(`${name} is a dead letter: ${reason}`, async () => {
    const bench = new Bench()
    await bench.deliver(job)
    const [result] = bench.results()
    assert.equal(result?.status, 'dead')
    assert.equal(result?.reason, reason)
    const counted = await bench.metrics.dead_letters_total.get()
    assert.equal(counted.values[0]?.labels.reason, reason)
  })
}

test('a creator that is not there is marked as gone', async () => {
  const bench = new Bench()
  bench.reply = () => json(404, {})
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.reason, 'not_found')
  const gone = bench.written[0]?.rows.find((row) => row.table === 'creators')
  assert.ok(gone?.table === 'creators' && gone.gone)
})

test('rows that ClickHouse refuses make a dead letter, and the outcome is still on record', async () => {
  const bench = new Bench()
  bench.refuseRows = true
  await bench.deliver(JOB)
  assert.equal(bench.results()[0]?.reason, 'bad_response')
  assert.equal(bench.results().length, 1)
  assert.deepEqual(
    bench.written.map(({ rows }) => rows.map((row) => row.table)),
    [['jobs']],
  )
})

test('a dead letter that its topic refuses for its size is cut, with its length in a header, and settled', async () => {
  const bench = new Bench()
  bench.recordBytesMax = 100_000
  await bench.deliver(Buffer.alloc(200_000, 0x20))
  const dead = bench.published.find(({ topic }) => topic === 'dead')?.record
  assert.equal(dead?.value?.length, 65_536)
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.cut), '200000')
  assert.equal(headerText(dead?.headers ?? {}, HEADERS.originalOffset), '0')
})

test('a dead letter whose key and headers alone are too large goes without them, and with its length, reason and place', async () => {
  const bench = new Bench()
  bench.recordBytesMax = 100_000
  await bench.deliver(
    { ...JOB, job_type: 'nothing' },
    { theirs: Buffer.alloc(200_000), list: [Buffer.alloc(9)] },
  )
  const dead = bench.published.find(({ topic }) => topic === 'dead')?.record
  assert.ok(dead)
  assert.equal(JSON.parse(String(dead.value)).creator_id, 'Ada')
  assert.equal(headerText(dead.headers, HEADERS.reason), 'unknown_job_type')
  assert.equal(headerText(dead.headers, HEADERS.originalOffset), '0')
  assert.equal(dead.headers.theirs, undefined)
})

test('a job whose follow-ups their topic refuses is a dead letter: it stops nothing', async () => {
  const bench = new Bench()
  bench.refusedTopic = 'jobs'
  await bench.deliver({ ...JOB, params: { pages: 1 } })
  const [result] = bench.results()
  assert.deepEqual([result?.status, result?.reason], ['dead', 'too_large'])
  assert.deepEqual(bench.trail, ['rows', 'rows', 'publish dead', 'mark', 'publish results', 'settle'])
})

test('a record that was cut on its way is malformed, with its true size', async () => {
  const bench = new Bench()
  await bench.deliver(JOB, { [HEADERS.cut]: Buffer.from('17000000') })
  assert.equal(bench.results()[0]?.reason, 'malformed')
  assert.match(bench.results()[0]?.message ?? '', /17000000 bytes/)
})
