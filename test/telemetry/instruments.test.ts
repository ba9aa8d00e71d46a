import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { Counter, Gauge, Histogram } from '../../src/telemetry/instruments.ts'

const base = { name: 'thing', help: 'A thing.' }

/** The lines of a scrape that are no comments. */
async function lines(registry: Registry): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

test('keeps a value for each combination of labels, whatever the order in which they are written', async () => {
  const registry = new Registry()
  const counter = new Counter({ ...base, labels: ['platform', 'endpoint'] }, registry)
  counter.inc({ platform: 'a', endpoint: 'x' })
  counter.inc({ endpoint: 'x', platform: 'a' }, 2)
  counter.inc({ platform: 'a', endpoint: 'y' })
  counter.inc({ platform: 'x', endpoint: 'a' }, 0)
  assert.deepEqual(await lines(registry), [
    'thing{platform="a",endpoint="x"} 3',
    'thing{platform="a",endpoint="y"} 1',
    'thing{platform="x",endpoint="a"} 0',
  ])
})

test('does not follow what its caller does with the labels afterwards', async () => {
  const registry = new Registry()
  const gauge = new Gauge({ ...base, labels: ['level'] }, registry)
  const labels = { level: 'global' }
  gauge.set(labels, 1)
  labels.level = 'other'
  assert.deepEqual(await lines(registry), ['thing{level="global"} 1'])
})

test('what has no labels is 0 from the beginning; what has some is not there', async () => {
  const registry = new Registry()
  const gauge = new Gauge({ ...base, labels: [] }, registry)
  new Counter({ ...base, name: 'others_total', labels: ['reason'] }, registry)
  assert.deepEqual(await lines(registry), ['thing 0'])
  gauge.set(7)
  assert.deepEqual(await lines(registry), ['thing 7'])
})

test('a removed combination is gone, and begins anew', async () => {
  const registry = new Registry()
  const gauge = new Gauge({ ...base, labels: ['topic', 'partition'] }, registry)
  gauge.set({ topic: 'jobs', partition: '0' }, 3)
  gauge.set({ topic: 'jobs', partition: '1' }, 4)
  gauge.remove({ topic: 'jobs', partition: '0' })
  assert.deepEqual(await lines(registry), ['thing{topic="jobs",partition="1"} 4'])
  gauge.inc({ topic: 'jobs', partition: '0' })
  gauge.dec({ topic: 'jobs', partition: '1' }, 5)
  assert.deepEqual(await lines(registry), [
    'thing{topic="jobs",partition="0"} 1',
    'thing{topic="jobs",partition="1"} -1',
  ])
})

test('a histogram counts up to and with each bound, and what is above all', async () => {
  const registry = new Registry()
  const histogram = new Histogram({ ...base, labels: ['stage'], buckets: [0.5, 1] }, registry)
  for (const value of [0.5, 0.7, 1, 4]) histogram.observe({ stage: 'store' }, value)
  assert.deepEqual(await lines(registry), [
    'thing_bucket{le="0.5",stage="store"} 1',
    'thing_bucket{le="1",stage="store"} 3',
    'thing_bucket{le="+Inf",stage="store"} 4',
    'thing_sum{stage="store"} 6.2',
    'thing_count{stage="store"} 4',
  ])
})

test('refuses what is no number, and a counter that falls', () => {
  const registry = new Registry()
  const counter = new Counter({ ...base, labels: [] }, registry)
  const histogram = new Histogram({ ...base, name: 'other', labels: [], buckets: [1] }, registry)
  for (const wrong of [-1, Number.NaN]) assert.throws(() => counter.inc(wrong), RangeError)
  assert.throws(() => histogram.observe(undefined, Number.NaN), RangeError)
})
