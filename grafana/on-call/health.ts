import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines, stat, table } from '../panels.ts'
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
        amber: 7_200,
        red: 14_400,
        alert: 'MillraceStaleness',
      }),
    )
    .withPanel(
      stat({
        title: 'Failed for no fault of their own, last hour',
        queries: [[`max(millrace:jobs_failed_share:1h) ${NONE}`, 'share']],
        unit: 'percentunit',
        span: 4,
        amber: 0.01,
        red: 0.06,
        alert: 'MillraceBudgetBurn',
      }),
    )
    .withPanel(
      stat({
        title: 'Alerts firing',
        about: 'How many alerts fire now; the table below says which.',
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
        span: 6,
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
        span: 6,
        alert: 'MillraceOutOfCapacity',
      }),
    )
    .withPanel(
      table({
        title: 'Firing now',
        about: 'Each alert that fires, with its runbook.',
        by: 'alertname',
        columns: [
          [
            'series',
            `count by (alertname, severity) (ALERTS{alertname=~"Millrace.*",alertstate="firing"}) or label_replace(vector(0), "alertname", "none", "", "")`,
            'short',
          ],
        ],
        span: 6,
      }).overrideByName('alertname', [
        {
          id: 'links',
          value: [{ title: 'Runbook', url: '${runbooks}/${__value.text}.md', targetBlank: true }],
        },
      ]),
    )
    .withPanel(
      lines({
        title: 'How long jobs take, p95',
        queries: [
          [quantile(0.95, 'job_duration_seconds', P, 'platform'), '{{platform}} in the daemon'],
          [quantile(0.95, 'job_freshness_seconds', P, 'platform'), '{{platform}} since requested'],
        ],
        unit: 's',
        span: 6,
      }),
    )
}
