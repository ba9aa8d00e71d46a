import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { z } from 'zod'
import { DASHBOARDS } from '../../grafana/dashboards.ts'
import { metricsIn } from '../../grafana/panels.ts'
import { REASONS, type Reason } from '../../src/job/reason.ts'
import { need } from '../need.ts'
import { promtool } from './promtool.ts'

const root = new URL('../../', import.meta.url)
const textOf = (path: string) => readFileSync(new URL(path, root), 'utf8')
const read = (path: string): unknown => parse(textOf(path))

const rule = z.object({
  alert: z.string().optional(),
  expr: z.string(),
  labels: z.object({ severity: z.enum(['page', 'ticket']) }).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
})
const groups = z.object({ groups: z.array(z.object({ rules: z.array(rule) })) })
const RULE_FILES = ['alerts.yml', 'objectives.yml']
const rules = RULE_FILES.flatMap((name) => groups.parse(read(`prometheus/${name}`)).groups).flatMap(
  (group) => group.rules,
)
const uids = new Set(Object.values(DASHBOARDS).map((build) => build().uid))
const alerts = rules.filter((one) => one.alert !== undefined)

test('every alert says how bad it is, what is wrong with a figure, and where to read on', () => {
  assert.ok(alerts.length >= 5)
  for (const { alert, labels, annotations = {} } of alerts) {
    assert.ok(labels, alert)
    assert.ok((annotations.summary ?? '') !== '', alert)
    assert.match(annotations.description ?? '', /\{\{/, `${alert}: a figure`)
    assert.ok(annotations.runbook_url?.endsWith(`/${alert}.md`), alert)
    const uid = /\/d\/([\w-]+)$/.exec(annotations.dashboard_url ?? '')?.[1]
    assert.ok(uid !== undefined && uids.has(uid), `${alert}: ${annotations.dashboard_url}`)
  }
})

test('every alert has a runbook with its five parts', () => {
  const parts = ['What it means', 'What users notice', 'Look here', 'Do this', 'If that fails']
  for (const { alert } of alerts) {
    const file = `docs/runbooks/${alert}.md`
    assert.ok(existsSync(new URL(file, root)), `${alert} has no runbook`)
    const headings = [...textOf(file).matchAll(/^## (.*)$/gm)].map((match) => match[1])
    assert.deepEqual(headings, parts, alert)
  }
})

test('runbooks name only commands, options and panels that there are', () => {
  // Of each command, what stands from its name to the next one's.
  const commands = new Map<string, string>()
  for (const text of textOf('src/cli/program.ts').split(".command('").slice(1))
    commands.set(text.slice(0, text.indexOf("'")), text)
  assert.match(commands.get('replay') ?? '', /--dry-run/)
  const panels = Object.values(DASHBOARDS).map((build) => JSON.stringify(build()))
  for (const { alert } of alerts) {
    const text = textOf(`docs/runbooks/${alert}.md`)
    for (const [, command = '', rest = ''] of text.matchAll(/`millrace ([a-z]+)([^`]*)/g)) {
      const known = commands.get(command)
      assert.ok(known !== undefined, `${alert}: millrace ${command}`)
      const all = known + (commands.get(/^ (\w+)/.exec(rest)?.[1] ?? '') ?? '')
      for (const [option] of rest.matchAll(/--[\w-]+/g))
        assert.ok(all.includes(`${option} `) || all.includes(`${option}'`), `${alert}: ${command} ${option}`)
    }
    for (const [, panel = ''] of text.matchAll(/(?<!\*)\*([A-Z][^*]+)\*(?!\*)/g)) {
      const title = JSON.stringify(panel.replace(/\s+/g, ' '))
      assert.ok(
        panels.some((json) => json.includes(`"title":${title}`)),
        `${alert}: no panel ${title}`,
      )
    }
  }
})

test('the list of runbooks has every alert with its severities', () => {
  const rows = [...textOf('docs/runbooks/README.md').matchAll(/^\| \[(\w+)\]\(\1\.md\) \| ([a-z, ]+) \|/gm)]
  const severities = new Map<string, Set<string>>()
  for (const { alert = '', labels } of alerts)
    severities.set(alert, (severities.get(alert) ?? new Set()).add(labels?.severity ?? ''))
  assert.deepEqual(
    rows.map(([, alert, text]) => `${alert} ${text}`).sort(),
    [...severities].map(([alert, each]) => `${alert} ${[...each].sort().join(', ')}`).sort(),
  )
})

test('alerts use only metrics that the catalogue has', () => {
  for (const { expr } of rules) {
    for (const [name] of expr.matchAll(/\bmillrace_\w+/g)) {
      assert.equal(metricsIn(name).length, 1, `${name} is not in the catalogue`)
    }
  }
})

const ruleTests = readdirSync(new URL('prometheus/', root)).filter((name) => name.endsWith('.test.yml'))

test('every alert has a case that fires and a near miss that does not', () => {
  const suite = z.object({
    tests: z.array(
      z.object({
        alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
      }),
    ),
  })
  const cases = ruleTests
    .flatMap((name) => suite.parse(read(`prometheus/${name}`)).tests)
    .flatMap((one) => one.alert_rule_test)
  for (const { alert } of alerts) {
    const expected = cases.filter((one) => one.alertname === alert).map((one) => one.exp_alerts.length > 0)
    assert.ok(expected.includes(true), `${alert}: a case that fires`)
    assert.ok(expected.includes(false), `${alert}: a near miss`)
  }
})

test('the error budget counts every reason that is not the job’s own, and jobs that waited too long', () => {
  const failures = Object.keys(REASONS).filter(
    (reason) => REASONS[reason as Reason].kind !== 'content' || reason === 'expired',
  )
  const counted = rules.flatMap(({ expr }) =>
    [...expr.matchAll(/reason=~"([a-z_|]{60,})"/g)].map((match) => match[1]!.split('|')),
  )
  assert.equal(counted.length, 4)
  for (const reasons of counted) assert.deepEqual(reasons.sort(), failures.sort())
})

test('promtool accepts rules and configuration, and every alert’s cases pass', async (t) => {
  const binary = need(t, 'promtool')
  if (binary === null) return
  for (const args of [
    ['check', 'rules', ...RULE_FILES],
    ['check', 'config', 'prometheus.yml'],
    ['test', 'rules', ...ruleTests],
  ]) {
    const { code, output } = await promtool(binary, args)
    assert.equal(code, 0, output)
  }
})
