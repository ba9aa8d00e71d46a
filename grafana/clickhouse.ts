import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog'
import { FieldTextAlignment } from '@grafana/grafana-foundation-sdk/common'
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table'
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries'

/** Panels of ClickHouse's tables, through Grafana's own plugin for it. The foundation SDK has no types of its queries. */

export const CLICKHOUSE = { type: 'grafana-clickhouse-datasource', uid: '${clickhouse}' }

export interface SqlOptions {
  readonly title: string
  /** What the figures mean, and when to look. */
  readonly about: string
  /** `${platform:singlequote}` is a list of texts; `$__fromTime` and `$__toTime` are DateTimes. */
  readonly sql: string
  /** Grafana's name of the unit. */
  readonly unit?: string
  readonly span: number
}

export function sqlStat(options: SqlOptions): Stat {
  const panel = new Stat().title(options.title).description(options.about).datasource(CLICKHOUSE)
  return panel
    .withTarget(query(options.sql, 'table'))
    .unit(options.unit ?? 'short')
    .span(options.span)
    .height(4)
}

/** The query's first column is the time; of texts that follow, each makes a line of its own. */
export function sqlLines(options: SqlOptions): TimeSeries {
  const panel = new TimeSeries().title(options.title).description(options.about).datasource(CLICKHOUSE)
  return panel
    .withTarget(query(options.sql, 'timeseries'))
    .unit(options.unit ?? 'short')
    .span(options.span)
    .height(8)
}

/** `units`: of columns that are not plain numbers. */
export function sqlTable(options: SqlOptions & { readonly units?: Readonly<Record<string, string>> }): Table {
  const panel = new Table()
    .title(options.title)
    .description(options.about)
    .datasource(CLICKHOUSE)
    .withTarget(query(options.sql, 'table'))
    .align(FieldTextAlignment.Auto)
    .span(options.span)
    .height(9)
  for (const [column, unit] of Object.entries(options.units ?? {})) {
    panel.overrideByName(column, [{ id: 'unit', value: unit }])
  }
  return panel
}

/** As the plugin writes it from its version 4 on. `format`: 0 for time series, 1 for tables. */
function query(sql: string, queryType: 'timeseries' | 'table'): Builder<Dataquery> {
  const target = {
    refId: 'A',
    datasource: CLICKHOUSE,
    editorType: 'sql',
    queryType,
    format: queryType === 'timeseries' ? 0 : 1,
    rawSql: sql.trim(),
  }
  return { build: () => target as unknown as Dataquery }
}
