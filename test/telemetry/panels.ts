import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'

/** A panel's query, as Grafana would send it. */
export interface PanelQuery {
  readonly panel: string
  readonly expr: string
}

/**
 * Every query of a dashboard, with its variables at All. `rateInterval`: what Grafana puts in for `$__rate_interval`, at
 * least four scrapes.
 */
export function queriesOf(dashboard: Dashboard, rateInterval: string): PanelQuery[] {
  const queries: PanelQuery[] = []
  for (const panel of dashboard.panels ?? []) {
    for (const target of ('targets' in panel && panel.targets) || []) {
      // Only a target for Prometheus has a query; the type of targets is open.
      const { expr } = target as { expr?: string }
      if (expr === undefined) throw new Error(`${panel.title}: a target without a query`)
      queries.push({ panel: panel.title ?? '', expr: fill(expr, rateInterval) })
    }
  }
  return queries
}

function fill(expr: string, rateInterval: string): string {
  const filled = expr
    .replaceAll('$__rate_interval', rateInterval)
    .replaceAll('$platform', '.*')
    .replaceAll('$instance', '.*')
  if (filled.includes('$')) throw new Error(`a variable that is not filled in: ${filled}`)
  return filled
}
