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
const read = (path: string): unknown => parse(readFileSync(new URL(path, root), 'utf8'))

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
    const file = new URL(`docs/runbooks/${alert}.md`, root)
    assert.ok(existsSync(file), `${alert} has no runbook`)
    const headings = [...readFileSync(file, 'utf8').matchAll(/^## (.*)$/gm)].map((match) => match[1])
    assert.deepEqual(headings, parts, alert)
  }
})

test('runbooks name only commands that there are', () => {
  const program = readFileSync(new URL('src/cli/program.ts', root), 'utf8')
  const commands = new Set([...program.matchAll(/\.command\('(\w+)'\)/g)].map((match) => match[1]))
  assert.ok(commands.has('check'))
  for (const { alert } of alerts) {
    const text = readFileSync(new URL(`docs/runbooks/${alert}.md`, root), 'utf8')
    for (const [, command] of text.matchAll(/`millrace (\w+)/g)) {
      assert.ok(commands.has(command), `${alert}: millrace ${command}`)
    }
  }
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

test('promtool accepts rules and configuration, and every alert’s cases pass', {
  timeout: 180_000,
}, async (t) => {
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
