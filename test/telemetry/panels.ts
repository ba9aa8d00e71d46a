import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'

/** A panel's query, as Grafana would send it. */
export interface PanelQuery {
  readonly panel: string
  readonly expr: string
}

/**
 * Every query for Prometheus of a dashboard, its annotations' too, with its variables at All. `rateInterval`: what Grafana puts in
 * for `$__rate_interval`, at least four scrapes.
 */
export function queriesOf(dashboard: Dashboard, rateInterval: string): PanelQuery[] {
  const annotations = (dashboard.annotations?.list ?? []) as { name: string; expr?: string }[]
  return [
    ...targetsOf(dashboard, 'expr').map(({ panel, text }) => ({ panel, expr: fill(text, rateInterval) })),
    ...annotations.flatMap(({ name, expr }) =>
      expr === undefined ? [] : [{ panel: `annotation ${name}`, expr: fill(expr, rateInterval) }],
    ),
  ]
}

export interface Chosen {
  readonly platforms: readonly string[]
  readonly creator: string
  /** Unix ms. */
  readonly fromMs: number
  readonly toMs: number
}

/** Every query for ClickHouse, its variables and macros filled in as Grafana and its plugin do. */
export function statementsOf(dashboard: Dashboard, chosen: Chosen): { panel: string; sql: string }[] {
  const texts = (values: readonly string[]) => values.map((value) => `'${value}'`).join(',')
  const moment = (ms: number) => `toDateTime(${Math.floor(ms / 1000)})`
  return targetsOf(dashboard, 'rawSql').map(({ panel, text }) => {
    const sql = text
      .replaceAll('${platform:singlequote}', texts(chosen.platforms))
      .replaceAll('${creator:singlequote}', texts([chosen.creator]))
      .replaceAll('$__fromTime', moment(chosen.fromMs))
      .replaceAll('$__toTime', moment(chosen.toMs))
    return { panel, sql: filled(sql) }
  })
}

function targetsOf(dashboard: Dashboard, kind: 'expr' | 'rawSql'): { panel: string; text: string }[] {
  return (dashboard.panels ?? []).flatMap((panel) =>
    (('targets' in panel && panel.targets) || []).flatMap((target) => {
      // The type of targets is open.
      const queries = target as { expr?: string; rawSql?: string }
      if (queries.expr === undefined && queries.rawSql === undefined)
        throw new Error(`${panel.title}: a target without a query`)
      const text = queries[kind]
      return text === undefined ? [] : [{ panel: panel.title ?? '', text }]
    }),
  )
}

function fill(expr: string, rateInterval: string): string {
  return filled(
    expr
      .replaceAll('$__rate_interval', rateInterval)
      .replaceAll('$platform', '.*')
      .replaceAll('$instance', '.*'),
  )
}

function filled(query: string): string {
  if (query.includes('$')) throw new Error(`a variable that is not filled in: ${query}`)
  return query
}
