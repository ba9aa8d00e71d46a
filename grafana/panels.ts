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
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries'
import { CATALOGUE, type MetricName } from '../src/telemetry/catalogue.ts'

/** The panels of every dashboard: three kinds, so that they look alike. Sizes are in Grafana's grid of 24 columns. */

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
}

/** One big figure with a small graph behind it. */
export function stat(options: PanelOptions): Stat {
  return new Stat()
    .title(options.title)
    .description(descriptionOf(options))
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

function target([expr, legend]: Query, index: number): DataqueryBuilder {
  return new DataqueryBuilder()
    .datasource(DATASOURCE)
    .expr(expr)
    .legendFormat(legend)
    .refId(String.fromCharCode(65 + index))
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
function descriptionOf({ queries, alert }: PanelOptions): string {
  const names = new Set(queries.flatMap(([expr]) => metricsIn(expr)))
  const sentences = [...names].map((name) => `\`${name}\`: look when ${CATALOGUE[name].look}`)
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
