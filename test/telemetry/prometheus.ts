import type { TestContext } from 'node:test'
import { z } from 'zod'
import { poll } from '../services/poll.ts'
import { startPrometheus } from '../services/prometheus.ts'

/** One series of an answer: its labels and its newest value. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A real Prometheus that watches a test. */
export interface Watcher {
  readonly url: string
  /** Answers a query as of now, like Grafana's instant queries. Rejects with Prometheus's own words when it is not valid. */
  query(expr: string): Promise<Series[]>
  /** Resolves when a query has at least one series. */
  until(expr: string, withinMs?: number): Promise<Series[]>
}

const answer = z.union([
  z.object({
    status: z.literal('success'),
    data: z.object({
      result: z.array(
        z.object({
          metric: z.record(z.string(), z.string()),
          value: z.tuple([z.number(), z.string()]),
        }),
      ),
    }),
  }),
  z.object({ status: z.literal('error'), error: z.string() }),
])

/**
 * Starts a Prometheus that scrapes the given admin URLs as the job `millrace`, and ends it with the test. `rules`: the texts
 * of rule files. Ask `need(t, 'prometheus')` first.
 */
export async function watch(
  t: TestContext,
  options: { targets: readonly string[]; scrapeInterval?: string; rules?: readonly string[] },
): Promise<Watcher> {
  const { targets, scrapeInterval = '250ms', rules = [] } = options
  const configuration = JSON.stringify({
    global: {
      scrape_interval: scrapeInterval,
      scrape_timeout: scrapeInterval,
      evaluation_interval: scrapeInterval,
    },
    rule_files: ['rules-*.yml'],
    scrape_configs: [
      { job_name: 'millrace', static_configs: [{ targets: targets.map((target) => new URL(target).host) }] },
    ],
  })
  const running = await startPrometheus({
    configuration,
    files: Object.fromEntries(rules.map((text, index) => [`rules-${index}.yml`, text])),
  })
  t.after(() => running.stop())

  async function query(expr: string): Promise<Series[]> {
    const reply = await fetch(`${running.address}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query: expr }),
      signal: AbortSignal.timeout(60_000),
    })
    const parsed = answer.parse(await reply.json())
    if (parsed.status === 'error') throw new Error(`${parsed.error}, in: ${expr}`)
    return parsed.data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
  }

  return {
    url: running.address,
    query,
    until: (expr, withinMs = 60_000) =>
      poll(
        async () => {
          const series = await query(expr)
          return series.length > 0 ? series : undefined
        },
        { withinMs, everyMs: 100, what: `Prometheus has no series for ${expr}` },
      ),
  }
}
