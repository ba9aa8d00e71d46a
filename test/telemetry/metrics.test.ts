import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { CATALOGUE, type MetricDefinition } from '../../src/telemetry/catalogue.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { need } from '../need.ts'
import { exercise } from './exercise.ts'
import { promtool } from './promtool.ts'

const definitions = Object.entries(CATALOGUE) as [string, MetricDefinition][]

test('promtool has nothing to say about a daemon’s metrics', async (t) => {
  const binary = need(t, 'promtool')
  if (binary === null) return
  const metrics = createMetrics({ defaults: true })
  exercise(metrics)
  const result = await promtool(binary, ['check', 'metrics'], await metrics.registry.metrics())
  assert.deepEqual(result, { code: 0, output: '' })
})

test('counters, and only counters, end in _total; the others end in their unit', () => {
  for (const [name, { type, unit }] of definitions) {
    assert.equal(name.endsWith('_total'), type === 'counter', name)
    const bare = name.replace(/_total$/, '')
    if (unit === 'seconds' || unit === 'bytes' || unit === 'ratio') assert.ok(bare.endsWith(`_${unit}`), name)
  }
})

test('no label takes its values from user data', () => {
  const known = new Set(definitions.flatMap(([, { labels }]) => labels))
  for (const label of known) assert.doesNotMatch(label, /creator|handle|url|job_id|key|message/)
})

test('two registries in one process do not know of each other', async () => {
  const [one, other] = [createMetrics(), createMetrics()]
  one.kafka_committed_total.inc()
  assert.match(await one.registry.metrics(), /millrace_kafka_committed_total 1/)
  assert.match(await other.registry.metrics(), /millrace_kafka_committed_total 0/)
})

test('200 scrapes of a busy daemon cost little', async () => {
  const metrics = createMetrics({ defaults: true })
  for (let i = 0; i < 20; i++) exercise(metrics)
  // Of CPU: the machine may have other things to do.
  const before = process.cpuUsage()
  for (let i = 0; i < 200; i++) await metrics.registry.metrics()
  const { user, system } = process.cpuUsage(before)
  const eachMs = (user + system) / 1_000 / 200
  assert.ok(eachMs < 50, `${eachMs.toFixed(1)} ms a scrape`)
})

test('writes what prom-client would write, whatever stands in the labels', async () => {
  const { registry, ...metrics } = createMetrics({ defaults: false })
  exercise({ registry, ...metrics })
  metrics.limit_utilisation_ratio.set({ level: 'a"b\\c\nd' }, Number.POSITIVE_INFINITY)
  metrics.permit_wait_seconds.observe({ platform: 'p', endpoint: 'e' }, 1_000_000)
  assert.equal((await registry.metrics()).trim(), (await Registry.prototype.metrics.call(registry)).trim())
})
