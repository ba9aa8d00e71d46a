import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines } from '../panels.ts'
import { I, P, quantile, rate } from '../queries.ts'

/** Row 4: is it the sinks, or us? */
export function sinksOrUs(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('The sinks, or us?'))
    .withPanel(
      lines({
        title: 'Parts that take what we give them',
        queries: [[`min by (service) (millrace_sink_healthy{${I}})`, '{{service}}']],
        unit: 'short',
        span: 6,
        alert: 'MillraceSinkAway',
      }),
    )
    .withPanel(
      lines({
        title: 'Rows',
        queries: [
          [`sum by (table) (${rate(`millrace_rows_written_total{${I}}`)})`, '{{table}} a second'],
          [`sum(millrace_rows_buffered{${I}})`, 'buffered'],
        ],
        unit: 'short',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Inserts, p95',
        queries: [[quantile(0.95, 'row_flush_duration_seconds', I, 'outcome'), '{{outcome}}']],
        unit: 's',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Rows of an insert, median',
        queries: [[quantile(0.5, 'row_batch_rows', I, 'table'), '{{table}}']],
        unit: 'short',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Pictures by outcome',
        queries: [[`sum by (outcome) (${rate(`millrace_pictures_total{${P}}`)})`, '{{outcome}}']],
        unit: 'ops',
        span: 6,
        stacked: true,
      }),
    )
    .withPanel(
      lines({
        title: 'Pictures by stage, p95',
        queries: [[quantile(0.95, 'picture_stage_duration_seconds', I, 'stage'), '{{stage}}']],
        unit: 's',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Worker threads',
        alert: 'MillracePoolFull',
        queries: [
          [`avg(millrace_picture_pool_utilisation_ratio{${I}})`, 'busy'],
          [`sum(millrace_picture_pool_queue_size{${I}})`, 'pictures waiting'],
        ],
        unit: 'short',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Bytes fetched a second',
        queries: [[`sum by (platform) (${rate(`millrace_fetch_bytes_total{${P}}`)})`, '{{platform}}']],
        unit: 'Bps',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Event loop delay',
        queries: [
          [`max by (instance, stat) (millrace_event_loop_delay_seconds{${I}})`, '{{instance}} {{stat}}'],
        ],
        unit: 's',
        span: 8,
        alert: 'MillraceLoopSlow',
      }),
    )
    .withPanel(
      lines({
        title: 'Cores used',
        queries: [
          [
            `${rate(`process_cpu_seconds_total{${I}}`)} and on (instance) millrace_daemon_ready`,
            '{{instance}}',
          ],
        ],
        unit: 'short',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Memory',
        queries: [
          [
            `process_resident_memory_bytes{${I}} and on (instance) millrace_daemon_ready`,
            '{{instance}} resident',
          ],
          [`nodejs_heap_size_used_bytes{${I}} and on (instance) millrace_daemon_ready`, '{{instance}} heap'],
          [`millrace_memory_limit_bytes{${I}}`, '{{instance}} limit of the {{of}}'],
        ],
        alert: 'MillraceMemory',
        unit: 'bytes',
        span: 8,
      }),
    )
}
