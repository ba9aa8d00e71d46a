import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { HEADERS } from '../../src/job/job.ts'
import type { Platform } from '../../src/job/platform.ts'
import { headerText } from '../../src/job/record.ts'
import { Bench, COUNTER, JOB, json } from './pipeline-bench.ts'

test('jobs that their platform has no room for are parked: byte for byte, with their first place and their age', async () => {
  const bench = new Bench(COUNTER, { waitingMax: 2 })
  bench.desk.pause('counter', 'test')
  const waiting = [bench.deliver(JOB), bench.deliver(JOB)]
  const attempts = { [HEADERS.attempts]: Buffer.from('2'), [HEADERS.dueAt]: Buffer.from('1') }
  await bench.deliver({ ...JOB, campaign: 'x' }, { mine: Buffer.from([1, 2]), ...attempts })
  const [parked] = bench.published
  assert.equal(parked?.topic, 'parked')
  assert.equal(String(parked?.record.value), JSON.stringify({ ...JOB, campaign: 'x' }))
  const { headers } = parked!.record
  assert.deepEqual(headers.mine, Buffer.from([1, 2]))
  assert.equal(headerText(headers, HEADERS.originalOffset), '2')
  assert.equal(headerText(headers, HEADERS.attempts), '2')
  assert.equal(headerText(headers, HEADERS.dueAt), undefined)
  assert.ok(Number(headerText(headers, HEADERS.parkedAt)) > Date.now() - 60_000)
  assert.deepEqual(bench.trail, ['publish parked', 'settle'])
  bench.desk.resume('counter')
  await Promise.all(waiting)
  assert.equal(bench.pipeline.counts.consumed, 2)
  assert.equal(bench.results().length, 2)
})

test('jobs that wait where their partition may soon go no further are parked too, unless their topic does not take them', async (t) => {
  const bench = new Bench(COUNTER, { waitingMax: 1 })
  bench.desk.start()
  t.after(() => bench.desk.stop())
  bench.desk.pause('counter', 'test')
  const oldest = bench.deliver({ ...JOB, job_id: 'oldest' })
  await bench.deliver({ ...JOB, job_id: 'next' })
  await new Promise((resolve) => setTimeout(resolve, 30))
  assert.equal(bench.published.length, 1, 'nobody has to go yet')
  bench.stretched = true
  await oldest
  assert.deepEqual(
    bench.published.map(({ topic, record }) => [topic, JSON.parse(String(record.value)).job_id]),
    [
      ['parked', 'next'],
      ['parked', 'oldest'],
    ],
  )
  assert.deepEqual(bench.results(), [])

  const stays = new Bench(COUNTER, { waitingMax: 1 })
  stays.desk.start()
  t.after(() => stays.desk.stop())
  stays.refusedTopic = 'parked'
  stays.stretched = true
  stays.desk.pause('counter', 'test')
  const waiting = [stays.deliver(JOB), stays.deliver(JOB)]
  await new Promise((resolve) => setTimeout(resolve, 30))
  stays.desk.resume('counter')
  await Promise.all(waiting)
  assert.equal(stays.results().length, 2)
})

test('a job that no topic takes to be put aside or off is done now, or dead: it stops nothing', async () => {
  const bench = new Bench(COUNTER, { waitingMax: 1 })
  bench.refusedTopic = 'parked'
  bench.desk.pause('counter', 'test')
  const waiting = [bench.deliver(JOB), bench.deliver(JOB)]
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(bench.published, [])
  bench.desk.resume('counter')
  await Promise.all(waiting)
  assert.deepEqual(
    bench.results().map(({ status }) => status),
    ['done', 'done'],
  )
  const put = new Bench()
  put.refusedTopic = 'retry.5m'
  put.reply = () => json(429, {}, { 'retry-after': '100' })
  await put.deliver(JOB)
  const last = put.results().at(-1)
  assert.deepEqual([last?.status, last?.reason], ['dead', 'rate_limited'])
  assert.match(last?.message ?? '', /too large/)
})

test('a call that goes on after its job has ended, and is cut off, takes nobody’s place for good', async () => {
  const both: Platform = {
    ...COUNTER,
    jobs: {
      both: {
        params: z.object({}),
        run: async (_job, { get }) => {
          const of = (creator: string) => get('count', { path: { creator } } as never)
          await Promise.all([of('gone'), of('failing')])
          return {}
        },
      },
    },
  }
  const bench = new Bench(both, { waitingMax: 1 })
  const failed = Promise.withResolvers<void>()
  bench.reply = async ({ pathname }) => {
    if (pathname.endsWith('/gone')) return json(404, {})
    await failed.promise
    return json(503, {}, { 'retry-after': '0.05' })
  }
  const lost = new AbortController()
  await bench.deliver({ ...JOB, job_type: 'both' }, {}, lost.signal)
  failed.resolve()
  const retried = async () => (await bench.metrics.retries_total.get()).values.length > 0
  while (!(await retried())) await new Promise((resolve) => setImmediate(resolve))
  lost.abort(new Error('lost'))
  await new Promise((resolve) => setImmediate(resolve))
  await bench.deliver({ ...JOB, job_type: 'both' })
  assert.equal(bench.published.filter(({ topic }) => topic === 'parked').length, 0)
})
