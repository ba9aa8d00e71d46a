import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { DASHBOARDS } from '../../grafana/dashboards.ts'
import { metricsIn } from '../../grafana/panels.ts'
import { CATALOGUE, type MetricDefinition } from '../../src/telemetry/catalogue.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { startAdmin } from '../admin/start.ts'
import { need } from '../need.ts'
import { exercise } from './exercise.ts'
import { queriesOf } from './panels.ts'
import { watch } from './prometheus.ts'

const dashboards = Object.entries(DASHBOARDS).map(([name, build]) => ({ name, dashboard: build() }))
const rules = readFileSync(new URL('../../prometheus/alerts.yml', import.meta.url), 'utf8')

test('panels use only metrics that the catalogue has', () => {
  for (const { name, dashboard } of dashboards) {
    for (const { panel, expr } of queriesOf(dashboard, '1m')) {
      for (const [metric] of expr.matchAll(/\bmillrace_\w+/g)) {
        assert.equal(metricsIn(metric).length, 1, `${name}, ${panel}: ${metric}`)
      }
    }
  }
})

test('every metric is on a dashboard or in an alert, or says why not', () => {
  const used = new Set<string>(
    [...dashboards.map(({ dashboard }) => JSON.stringify(dashboard)), rules].flatMap(metricsIn),
  )
  for (const [name, definition] of Object.entries(CATALOGUE) as [string, MetricDefinition][]) {
    const { unused } = definition
    assert.equal(
      used.has(name),
      unused === undefined,
      `${name}: put it on a dashboard, or say why not in \`unused\``,
    )
  }
})

test('the on-call dashboard asks its four questions in order', () => {
  const rows = (DASHBOARDS['on-call.json']!().panels ?? []).filter((panel) => panel.type === 'row')
  assert.deepEqual(
    rows.map((row) => row.title),
    ['Is it healthy?', 'Is it the upstream?', 'The limits?', 'The sinks, or us?'],
  )
})

test('every panel gets data from a real Prometheus that watches a daemon', { timeout: 60_000 }, async (t) => {
  if (need(t, 'prometheus') === null) return
  const metrics = createMetrics({ defaults: true })
  // A scrape is a daemon's moment of work here: whatever counts has counted again.
  const url = await startAdmin(t, { metrics, beforeScrape: [() => exercise(metrics)] })
  const prometheus = await watch(t, { targets: [url], rules })
  await prometheus.until('count_over_time(millrace_daemon_ready[10s]) >= 5')
  // It asks for OpenMetrics first, and forgives nothing there.
  const targets = await (await fetch(`${prometheus.url}/api/v1/targets`)).text()
  assert.match(targets, /"lastError":""/)
  await prometheus.until('millrace:kafka_lag_records:sum')

  const silent: string[] = []
  for (const { name, dashboard } of dashboards) {
    for (const { panel, expr } of queriesOf(dashboard, '5s')) {
      const series = await prometheus.query(expr)
      if (series.length === 0 || series.every(({ value }) => Number.isNaN(value))) {
        silent.push(`${name}, ${panel}: ${expr}`)
      }
    }
  }
  assert.deepEqual(silent, [])
})

test('a fault fires its alert in a real Prometheus, and the alert resolves when it is over', {
  timeout: 60_000,
}, async (t) => {
  if (need(t, 'prometheus') === null) return
  const metrics = createMetrics()
  const url = await startAdmin(t, { metrics })
  // The same rules, with less patience.
  const hasty = rules.replaceAll(/for: \d+[mh]/g, 'for: 500ms')
  metrics.daemon_ready.set(1)
  metrics.sink_healthy.set({ service: 'clickhouse' }, 1)
  const prometheus = await watch(t, { targets: [url], rules: hasty })
  await prometheus.until('millrace_sink_healthy == 1')
  const firing = 'ALERTS{alertname="MillraceSinkAway",alertstate="firing"}'
  assert.deepEqual(await prometheus.query(firing), [])

  metrics.sink_healthy.set({ service: 'clickhouse' }, 0)
  const [alert] = await prometheus.until(firing)
  assert.equal(alert!.labels.service, 'clickhouse')
  assert.equal(alert!.labels.severity, 'page')

  metrics.sink_healthy.set({ service: 'clickhouse' }, 1)
  await prometheus.until(`absent(${firing})`)
})
