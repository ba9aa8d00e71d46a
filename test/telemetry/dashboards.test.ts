import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { DASHBOARDS } from '../../grafana/dashboards.ts'
import { metricsIn } from '../../grafana/panels.ts'
import { CATALOGUE, type MetricDefinition } from '../../src/telemetry/catalogue.ts'
import { queriesOf } from './panels.ts'

const dashboards = Object.entries(DASHBOARDS).map(([name, build]) => ({ name, dashboard: build() }))
const read = (name: string) => readFileSync(new URL(`../../prometheus/${name}`, import.meta.url), 'utf8')
const rules = read('alerts.yml') + read('objectives.yml')

test('panels use only metrics and recorded series that there are', () => {
  const recorded = new Set([...rules.matchAll(/record: (\S+)/g)].map((match) => match[1]))
  for (const { name, dashboard } of dashboards) {
    for (const { panel, expr } of queriesOf(dashboard, '1m')) {
      for (const [metric] of expr.matchAll(/\bmillrace_\w+/g)) {
        assert.equal(metricsIn(metric).length, 1, `${name}, ${panel}: ${metric}`)
      }
      for (const [series] of expr.matchAll(/\bmillrace:\w+:\w+/g)) {
        assert.ok(recorded.has(series), `${name}, ${panel}: ${series}`)
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

test('every panel says what it is for, none has the title of another, and each alert is on one with its runbook', () => {
  const alerts = new Set([...rules.matchAll(/alert: (\w+)/g)].map((match) => match[1]!))
  const linked = new Set<string>()
  for (const { name, dashboard } of dashboards) {
    const panels = (dashboard.panels ?? []).flatMap((panel) => (panel.type === 'row' ? [] : [panel]))
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length, name)
    for (const panel of panels) {
      if (!('links' in panel)) continue
      assert.ok(
        (panel.description ?? '') !== '' || panel.title === 'Alerts firing',
        `${name}: ${panel.title}`,
      )
      for (const { url } of panel.links ?? []) {
        const alert = /^\$\{runbooks\}\/(\w+)\.md$/.exec(url ?? '')?.[1] ?? ''
        assert.ok(alerts.has(alert), `${name}, ${panel.title}: ${url}`)
        linked.add(alert)
      }
    }
  }
  assert.deepEqual(
    [...alerts].filter((alert) => !linked.has(alert)),
    [],
  )
})
