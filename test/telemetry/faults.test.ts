import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@clickhouse/client'
import { DASHBOARDS } from '../../grafana/dashboards.ts'
import { PLAYED } from '../../src/simulator/options.ts'
import { REFRESHED_VIEWS } from '../../src/timeseries/queries.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { until } from '../until.ts'
import { hasty } from './hasty.ts'
import { queriesOf, statementsOf } from './panels.ts'
import { watch } from './prometheus.ts'
import { openScene, type Scene } from './scene.ts'

const DAY_MS = 86_400_000
const read = (name: string) => readFileSync(new URL(`../../prometheus/${name}`, import.meta.url), 'utf8')
const rules = [read('alerts.yml'), read('objectives.yml')].map((text) => hasty(text))
const dashboards = Object.entries(DASHBOARDS).map(([name, build]) => ({ name, dashboard: build() }))

test('a real Prometheus watches a real run: every panel has data, and faults fire their alerts until they are over', {
  timeout: 480_000,
}, async (t) => {
  if (need(t, 'prometheus') === null) return
  const scene = await openScene(t)
  if (scene === null) return
  const startedAtMs = performance.now()
  const said = (what: string) =>
    t.diagnostic(`${((performance.now() - startedAtMs) / 1000).toFixed(1)} s: ${what}`)
  // The real rules, with windows of seconds.
  const prometheus = await watch(t, { targets: [scene.adminUrl], rules, scrapeInterval: '1s' })
  const alert = (name: string, labels = '') =>
    `ALERTS{alertname="Millrace${name}",alertstate="firing"${labels === '' ? '' : `,${labels}`}}`
  const fires = async (name: string, labels?: string) => {
    const sinceMs = performance.now()
    // Of what happened since, not of this moment: some are true for seconds, in which nobody may have asked.
    const fired = async () => {
      const rangeS = Math.ceil((performance.now() - sinceMs) / 1000) + 1
      return (
        (await prometheus.query(`count_over_time(${alert(name, labels)}[${rangeS}s])`)).length > 0 ||
        undefined
      )
    }
    await poll(fired, { withinMs: 120_000, everyMs: 100, what: `${alert(name, labels)} in Prometheus` })
    said(`${name} fires`)
  }
  // A scrape that comes too late, on a busy machine, makes a series end until the next.
  const hasData = (expr: string) =>
    poll<true>(
      async () =>
        (await prometheus.query(expr)).some(({ value }) => !Number.isNaN(value)) ? true : undefined,
      { withinMs: 30_000, everyMs: 200, what: expr },
    ).catch(() => false)
  const resolves = async (name: string, labels?: string) => {
    await prometheus.until(`absent(${alert(name, labels)})`, 120_000)
    said(`${name} is over`)
  }

  // Before there is a daemon none is ready.
  await fires('Down')
  await scene.start()
  await resolves('Down')

  // An ordinary run with all that panels show, twice: a rate needs a figure before. Some jobs were asked for a day and a half ago.
  const longAgoMs = Date.now() - 1.5 * DAY_MS
  const ordinary = PLAYED.flatMap((platform) => [
    { platform, count: 8 },
    { platform, count: 2, requestedAtMs: longAgoMs },
    { platform, count: 3, from: 50, type: 'full_profile_scrape' as const },
  ])
  await scene.publish(ordinary)
  await prometheus.until('sum(millrace_jobs_finished_total{outcome="done"}) >= 39', 120_000)
  said('39 jobs are done')
  await meanwhile(fires('Staleness'), () => scene.publish(ordinary))
  const silentPanels = async () => {
    const silent: string[] = []
    for (const { name, dashboard } of dashboards) {
      for (const { panel, expr } of queriesOf(dashboard, '10m')) {
        // What an annotation marks need not have happened.
        if (panel.startsWith('annotation')) await prometheus.query(expr)
        else if (!(await hasData(expr))) silent.push(`${name}, ${panel}: ${expr}`)
      }
    }
    return silent
  }
  assert.deepEqual(await meanwhile(silentPanels(), () => scene.read()), [])
  const wellScraped = async () =>
    (await (await fetch(`${prometheus.url}/api/v1/targets`)).text()).includes('"lastError":""')
  await until(wellScraped, 'a scrape without an error')
  said('every panel of Prometheus has data')
  await everyStatementAnswers(scene)
  said('every panel of ClickHouse has data')

  // The upstream is in three moods at once.
  scene.upstream.set('instagram', 'unauthorized')
  scene.upstream.set('tiktok', 'slow_down')
  scene.upstream.set('youtube', 'silent')
  const firing = Promise.all([
    fires('CredentialRefused', 'platform="instagram"'),
    fires('PlatformPaused', 'platform="instagram"'),
    fires('BudgetBurn', 'platform="instagram",window="1h"'),
    fires('DeadLetters', 'reason="unauthorized"'),
    fires('UpstreamRejecting', 'platform="tiktok"'),
    fires('Stalled', 'sign="platform",platform="youtube"'),
  ])
  await meanwhile(firing, () =>
    scene.publish([
      { platform: 'instagram', count: 20, from: 200 },
      { platform: 'tiktok', count: 5, from: 200 },
      { platform: 'youtube', count: 5, from: 200 },
    ]),
  )
  scene.upstream.set('tiktok', 'blocked')
  await scene.publish([{ platform: 'tiktok', count: 5, from: 300 }])
  // One has asked for a minute's patience, one is paused: nobody is woken for what is told elsewhere, or passes.
  for (const platform of ['tiktok', 'instagram']) {
    await prometheus.until(`millrace:held_back:max{platform="${platform}"}`)
    await resolves('Stalled', `platform="${platform}"`)
  }
  for (const platform of PLAYED) scene.upstream.set(platform, 'well')
  await Promise.all([resolves('CredentialRefused'), resolves('UpstreamRejecting'), resolves('DeadLetters')])

  // The services behind the daemon are away.
  await Promise.all([scene.redis.cut(), scene.clickhouse.cut()])
  await fires('LimiterAway')
  await scene.redis.open()
  await meanwhile(
    Promise.all([resolves('LimiterAway'), fires('SinkAway', 'service="clickhouse"'), fires('ApiErrors')]),
    () => scene.read(),
  )
  await scene.clickhouse.open()
  await Promise.all([resolves('SinkAway'), resolves('ApiErrors')])
  await Promise.all([resolves('Stalled'), resolves('BudgetBurn'), resolves('Staleness')])

  await scene.stop()
  await Promise.all([fires('Down'), fires('ApiDown')])
  await scene.start()
  await Promise.all([resolves('Down'), resolves('ApiDown'), resolves('PlatformPaused')])
})

/** Does the same again and again until something has come of it. */
async function meanwhile<T>(outcome: Promise<T>, act: () => Promise<void>): Promise<T> {
  let isOver = false
  outcome
    .finally(() => {
      isOver = true
    })
    .catch(() => {})
  while (!isOver) {
    await act()
    await Promise.race([outcome, sleep(1_000)])
  }
  return await outcome
}

async function everyStatementAnswers({ database: { url, name: database } }: Scene): Promise<void> {
  const client = createClient({ url, database })
  try {
    const select = async (query: string) => (await client.query({ query, format: 'JSONEachRow' })).json()
    for (const view of REFRESHED_VIEWS) {
      await client.command({ query: `SYSTEM REFRESH VIEW ${view}` })
      await client.command({ query: `SYSTEM WAIT VIEW ${view}` })
    }
    const [{ handle }] = (await select('SELECT handle FROM creators FINAL LIMIT 1')) as [{ handle: string }]
    const nowMs = Date.now()
    const chosen = { platforms: PLAYED, creator: handle, fromMs: nowMs - 30 * DAY_MS, toMs: nowMs + 1_000 }
    const empty: string[] = []
    for (const { dashboard } of dashboards) {
      for (const { panel, sql } of statementsOf(dashboard, chosen)) {
        if ((await select(sql)).length === 0) empty.push(`${panel}: ${sql}`)
      }
    }
    assert.deepEqual(empty, [])
  } finally {
    await client.close()
  }
}
