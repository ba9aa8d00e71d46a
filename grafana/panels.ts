import { PanelBuilder as BarGauge } from '@grafana/grafana-foundation-sdk/bargauge'
import {
  BarGaugeDisplayMode,
  BigValueColorMode,
  BigValueGraphMode,
  GraphDrawStyle,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common'
import {
  DashboardLinkBuilder,
  DashboardLinkType,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table'
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries'
import { CATALOGUE, type MetricName } from '../src/telemetry/catalogue.ts'

/** The panels of every dashboard: four kinds, so that they look alike. Sizes are in Grafana's grid of 24 columns. */

export const DATASOURCE = { type: 'prometheus', uid: '${datasource}' }

/** A query, and the legend of its series. */
export type Query = readonly [expr: string, legend: string]

export interface PanelOptions {
  readonly title: string
  readonly queries: readonly Query[]
  /** Grafana's name of the unit: `s`, `bytes`, `percentunit`, `ops`, `short`. */
  readonly unit: string
  /** Columns, of 24. */
  readonly span: number
  /** Value from which on it is amber, and red. A panel where less is worse gives them falling. */
  readonly amber?: number
  readonly red?: number
  /** The alert that watches the same, named in the description. */
  readonly alert?: string
  /** What it is for, where no metric of the catalogue says it. */
  readonly about?: string
}

/** One big figure with a small graph behind it. */
export function stat(options: PanelOptions): Stat {
  return new Stat()
    .title(options.title)
    .description(descriptionOf(options))
    .links(runbookOf(options))
    .datasource(DATASOURCE)
    .targets(options.queries.map((query, index) => target(query, index)))
    .unit(options.unit)
    .thresholds(thresholdsOf(options))
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .colorMode(
      options.amber === undefined && options.red === undefined
        ? BigValueColorMode.None
        : BigValueColorMode.Background,
    )
    .graphMode(BigValueGraphMode.Area)
    .span(options.span)
    .height(4)
}

/** Lines over time; `stacked` where the sum means something. */
export function lines(options: PanelOptions & { readonly stacked?: boolean }): TimeSeries {
  const panel = new TimeSeries()
    .title(options.title)
    .description(descriptionOf(options))
    .links(runbookOf(options))
    .datasource(DATASOURCE)
    .targets(options.queries.map((query, index) => target(query, index)))
    .unit(options.unit)
    .min(0)
    .drawStyle(GraphDrawStyle.Line)
    .lineWidth(1)
    .fillOpacity(options.stacked === true ? 40 : 8)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi))
    .span(options.span)
    .height(7)
  return options.stacked === true
    ? panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'))
    : panel
}

/** A bar for each series' newest value, from 0 to 1. */
export function bars(options: PanelOptions): BarGauge {
  return new BarGauge()
    .title(options.title)
    .description(descriptionOf(options))
    .links(runbookOf(options))
    .datasource(DATASOURCE)
    .targets(options.queries.map((query, index) => target(query, index).instant()))
    .unit(options.unit)
    .min(0)
    .max(1)
    .thresholds(thresholdsOf(options))
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .orientation(VizOrientation.Horizontal)
    .displayMode(BarGaugeDisplayMode.Basic)
    .span(options.span)
    .height(7)
}

/** A column of a table: its title, its query, and its unit. */
export type Column = readonly [title: string, expr: string, unit: string]

export interface TableOptions {
  readonly title: string
  readonly columns: readonly Column[]
  /** The label that rows are told apart by. */
  readonly by: string
  readonly span: number
  readonly alert?: string
  readonly about?: string
}

/** A row for each value of a label, and a column for each query: its newest value. */
export function table({ columns, by, ...options }: TableOptions): Table {
  const queries = columns.map(([title, expr]): Query => [expr, title])
  const panel = new Table()
    .title(options.title)
    .description(descriptionOf({ ...options, queries }))
    .links(runbookOf(options))
    .datasource(DATASOURCE)
    .targets(queries.map((query, index) => target(query, index).instant().format(PromQueryFormat.Table)))
    .withTransformation({ id: 'joinByField', options: { byField: by, mode: 'outer' } })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: Object.fromEntries(
          ['Time', ...columns.map((_, index) => `Time ${index + 1}`)].map((name) => [name, true]),
        ),
        // The value of a query that stands alone has no letter.
        renameByName: Object.fromEntries(
          columns.map(([title], index) => [columns.length === 1 ? 'Value' : `Value #${REF(index)}`, title]),
        ),
      },
    })
    .span(options.span)
    .height(9)
  for (const [title, , unit] of columns) panel.overrideByName(title, [{ id: 'unit', value: unit }])
  return panel
}

const REF = (index: number) => String.fromCharCode(65 + index)

/** Beside the title: where to read on. */
function runbookOf({ alert }: Pick<PanelOptions, 'alert'>): DashboardLinkBuilder[] {
  if (alert === undefined) return []
  const link = new DashboardLinkBuilder(`Runbook: ${alert}`).type(DashboardLinkType.Link)
  return [link.url(`\${runbooks}/${alert}.md`).targetBlank(true)]
}

function target([expr, legend]: Query, index: number): DataqueryBuilder {
  return new DataqueryBuilder().datasource(DATASOURCE).expr(expr).legendFormat(legend).refId(REF(index))
}

function thresholdsOf({ amber, red }: PanelOptions): ThresholdsConfigBuilder {
  const falling = amber !== undefined && red !== undefined && red < amber
  const steps: Threshold[] = falling
    ? [
        { value: null, color: 'red' },
        { value: red, color: 'orange' },
        { value: amber, color: 'green' },
      ]
    : [{ value: null, color: 'green' }]
  if (!falling && amber !== undefined) steps.push({ value: amber, color: 'orange' })
  if (!falling && red !== undefined) steps.push({ value: red, color: 'red' })
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps)
}

/** What the catalogue says of the panel's metrics: when to look, and which runbook belongs to it. */
function descriptionOf({ queries, alert, about }: Pick<PanelOptions, 'queries' | 'alert' | 'about'>): string {
  const names = new Set(queries.flatMap(([expr]) => metricsIn(expr)))
  const sentences = [...names].map((name) => `\`${name}\`: look when ${CATALOGUE[name].look}`)
  if (about !== undefined) sentences.unshift(about)
  if (alert !== undefined) sentences.push(`Alert ${alert}, see docs/runbooks/${alert}.md.`)
  return sentences.join('\n\n')
}

/** The catalogue's names in a query, without prefix and without the suffixes of histograms. */
export function metricsIn(text: string): MetricName[] {
  const found = new Set<MetricName>()
  for (const [, name = ''] of text.matchAll(/\bmillrace_(\w+)/g)) {
    const base = name.replace(/_(bucket|sum|count)$/, '')
    for (const candidate of [name, base])
      if (Object.hasOwn(CATALOGUE, candidate)) found.add(candidate as MetricName)
  }
  return [...found]
}
