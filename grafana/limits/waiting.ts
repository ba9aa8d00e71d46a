import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines } from '../panels.ts'
import { I, NONE, P, quantile, rate } from '../queries.ts'

/** Row 4: who waits, for what, and what asking costs. */
export function waiting(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('Who waits, and for what?'))
    .withPanel(
      lines({
        title: 'Permits granted',
        queries: [
          [
            `sum by (platform, endpoint) (${rate(`millrace_permits_granted_total{${P}}`)})`,
            '{{platform}}/{{endpoint}}',
          ],
        ],
        unit: 'ops',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Held back, by level',
        queries: [[`sum by (level) (${rate(`millrace_permits_denied_total{${P}}`)}) ${NONE}`, '{{level}}']],
        unit: 'ops',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Calls that wait for a permit',
        queries: [[`sum by (platform, endpoint) (millrace_jobs_queued{${P}})`, '{{platform}}/{{endpoint}}']],
        unit: 'short',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Wait for a permit',
        queries: [
          [quantile(0.5, 'permit_wait_seconds', P, 'platform'), '{{platform}} median'],
          [quantile(0.95, 'permit_wait_seconds', P, 'platform'), '{{platform}} p95'],
        ],
        unit: 's',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Ids a call, where jobs share calls',
        queries: [
          [
            `sum by (platform, endpoint) (${rate(`millrace_batch_ids_sum{${P}}`)}) / sum by (platform, endpoint) (${rate(`millrace_batch_ids_count{${P}}`)}) ${NONE}`,
            '{{platform}}/{{endpoint}}',
          ],
        ],
        unit: 'short',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Calls to the limiter',
        queries: [[`sum by (outcome) (${rate(`millrace_limiter_calls_total{${I}}`)})`, '{{outcome}}']],
        unit: 'ops',
        span: 6,
        alert: 'MillraceLimiterAway',
      }),
    )
    .withPanel(
      lines({
        title: 'Round trip of a call to the limiter',
        queries: [
          [quantile(0.5, 'limiter_call_duration_seconds', I, ''), 'median'],
          [quantile(0.99, 'limiter_call_duration_seconds', I, ''), 'p99'],
        ],
        unit: 's',
        span: 6,
      }),
    )
}
