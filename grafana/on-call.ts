import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { healthy } from './on-call/health.ts'
import { limits } from './on-call/limits.ts'
import { sinksOrUs } from './on-call/sinks.ts'
import { upstream } from './on-call/upstream.ts'
import { DATASOURCE } from './panels.ts'
import { I } from './queries.ts'

/** *On call*: is it healthy; is it the upstream; the limits; the sinks, or us. Read from top to bottom, first oddity wins. */
export function onCall(): Dashboard {
  const dashboard = new DashboardBuilder('millrace: on call')
    .uid('millrace-on-call')
    .description('Is it healthy? Is it the upstream? The limits? The sinks, or us? Read from top to bottom.')
    .tags(['millrace'])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('15s')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .readonly()
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(choice('platform', 'Platform', 'label_values(millrace_jobs_consumed_total, platform)'))
    .withVariable(choice('instance', 'Daemon', 'label_values(millrace_daemon_ready, instance)'))
    .annotation(
      new AnnotationQueryBuilder()
        .name('A daemon started')
        .datasource(DATASOURCE)
        .enable(true)
        .iconColor('blue')
        .expr(`process_start_time_seconds{${I}} * 1000 and on (instance) millrace_daemon_ready`)
        .titleFormat('started: {{instance}}')
        .useValueForTime(true),
    )
    .annotation(
      new AnnotationQueryBuilder()
        .name('Rebalance')
        .datasource(DATASOURCE)
        .enable(true)
        .iconColor('purple')
        .expr(`sum(increase(millrace_kafka_rebalances_total{${I}}[$__rate_interval])) > 0`)
        .titleFormat('rebalance'),
    )
  healthy(dashboard)
  upstream(dashboard)
  limits(dashboard)
  sinksOrUs(dashboard)
  return dashboard.build()
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
