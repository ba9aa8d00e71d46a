import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines, stat } from '../panels.ts'
import { I, NONE, P, quantile, rate } from '../queries.ts'

/** Row 1: is it healthy? */
export function healthy(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('Is it healthy?'))
    .withPanel(
      stat({
        title: 'Daemons ready',
        queries: [[`sum(millrace_daemon_ready{${I}})`, 'ready']],
        unit: 'short',
        span: 3,
        amber: 1,
        red: 0.5,
        alert: 'MillraceDown',
      }),
    )
    .withPanel(
      stat({
        title: 'Jobs done',
        queries: [[`sum(${rate(`millrace_jobs_finished_total{${P},outcome="done"}`)})`, 'done']],
        unit: 'ops',
        span: 4,
      }),
    )
    .withPanel(
      stat({
        title: 'Lag',
        queries: [[`sum(max by (topic, partition) (millrace_kafka_lag_records)) ${NONE}`, 'records']],
        unit: 'short',
        span: 4,
        alert: 'MillraceStalled',
      }),
    )
    .withPanel(
      stat({
        title: 'Freshness, p95',
        queries: [[quantile(0.95, 'job_freshness_seconds', P, ''), 'p95']],
        unit: 's',
        span: 4,
        amber: 3600,
        red: 21_600,
      }),
    )
    .withPanel(
      stat({
        title: 'Dead letters, share',
        queries: [
          [
            `sum(${rate(`millrace_dead_letters_total{${P}}`)}) / clamp_min(sum(${rate(`millrace_jobs_finished_total{${P}}`)}), 0.001) ${NONE}`,
            'share',
          ],
        ],
        unit: 'percentunit',
        span: 4,
        amber: 0.02,
        red: 0.05,
        alert: 'MillraceDeadLetters',
      }),
    )
    .withPanel(
      stat({
        title: 'Alerts firing',
        queries: [[`count(ALERTS{alertname=~"Millrace.*",alertstate="firing"}) ${NONE}`, 'firing']],
        unit: 'short',
        span: 5,
        amber: 1,
        red: 2,
      }),
    )
    .withPanel(
      lines({
        title: 'Taken in and ended, by outcome',
        queries: [
          [`sum(${rate(`millrace_jobs_consumed_total{${P}}`)})`, 'taken in'],
          [`sum by (outcome) (${rate(`millrace_jobs_finished_total{${P}}`)})`, '{{outcome}}'],
          [`sum(${rate(`millrace_jobs_replayed_total{${P}}`)}) ${NONE}`, 'replayed'],
          [`sum(${rate(`millrace_kafka_committed_total{${I}}`)})`, 'committed'],
        ],
        unit: 'ops',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Lag by topic',
        queries: [
          [`sum by (topic) (max by (topic, partition) (millrace_kafka_lag_records)) ${NONE}`, '{{topic}}'],
          [`sum(millrace_kafka_paused_partitions{${I}})`, 'paused partitions'],
        ],
        unit: 'short',
        span: 8,
        alert: 'MillraceOutOfCapacity',
      }),
    )
    .withPanel(
      lines({
        title: 'How long jobs take, p95',
        queries: [
          [quantile(0.95, 'job_duration_seconds', P, 'platform'), '{{platform}} in the daemon'],
          [quantile(0.95, 'job_freshness_seconds', P, 'platform'), '{{platform}} since requested'],
        ],
        unit: 's',
        span: 8,
      }),
    )
}
