import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  TextBoxVariableBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DATASOURCE } from './panels.ts'
import { I } from './queries.ts'

export interface PageOptions {
  /** After `millrace: `. */
  readonly title: string
  readonly uid: string
  readonly description: string
  /** How far back it looks at first. Default an hour. */
  readonly from?: string
  /** Default 15 seconds, as Prometheus scrapes. */
  readonly refresh?: string
  /** What can be picked from; default: daemons, and platforms. */
  readonly of?: 'daemons' | 'api'
}

/** What every dashboard has: how it behaves, and the way to the others. */
export function bare({
  title,
  uid,
  description,
  from = 'now-1h',
  refresh = '15s',
}: PageOptions): DashboardBuilder {
  return new DashboardBuilder(`millrace: ${title}`)
    .uid(uid)
    .description(description)
    .tags(['millrace'])
    .time({ from, to: 'now' })
    .refresh(refresh)
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .readonly()
    .link(
      new DashboardLinkBuilder('millrace')
        .type(DashboardLinkType.Dashboards)
        .tags(['millrace'])
        .keepTime(true)
        .includeVars(true),
    )
}

/** A dashboard of Prometheus's figures: narrowed down by platform and process, deploys and rebalances marked on every graph. */
export function page(options: PageOptions): DashboardBuilder {
  const { of = 'daemons' } = options
  const started = bare(options).withVariable(
    new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'),
  )
  const narrowed =
    of === 'api'
      ? started.withVariable(choice('instance', 'Process', 'label_values(millrace_api_ready, instance)'))
      : started
          .withVariable(
            choice('platform', 'Platform', 'label_values(millrace_jobs_consumed_total, platform)'),
          )
          .withVariable(choice('instance', 'Daemon', 'label_values(millrace_daemon_ready, instance)'))
  const marked = narrowed
    .withVariable(
      new TextBoxVariableBuilder('runbooks')
        .label('Runbooks')
        .description('Where your team reads docs/runbooks: the beginning of an address. Panels link there.')
        .defaultValue('docs/runbooks'),
    )
    .annotation(
      new AnnotationQueryBuilder()
        .name('Deploy or restart')
        .datasource(DATASOURCE)
        .enable(true)
        .iconColor('blue')
        .expr(
          `1000 * process_start_time_seconds{${I}} * on (instance) group_left (version) millrace_build_info`,
        )
        .titleFormat('{{instance}} started with {{version}}')
        .useValueForTime(true),
    )
  return of === 'api' ? marked : withRebalances(marked)
}

function withRebalances(dashboard: DashboardBuilder): DashboardBuilder {
  return dashboard.annotation(
    new AnnotationQueryBuilder()
      .name('Rebalance')
      .datasource(DATASOURCE)
      .enable(true)
      .iconColor('purple')
      .expr(`sum(increase(millrace_kafka_rebalances_total{${I}}[$__rate_interval])) > 0`)
      .titleFormat('rebalance'),
  )
}

function choice(name: string, label: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(DATASOURCE)
    .query(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ text: 'All', value: '$__all' })
}
