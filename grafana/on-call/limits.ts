import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { bars, lines } from '../panels.ts'
import { I, NONE, P, quantile, rate } from '../queries.ts'

/** Row 3: is it the limits? */
export function limits(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('The limits?'))
    .withPanel(
      bars({
        title: 'Used of each limit',
        queries: [['sort_desc(max by (level) (millrace_limit_utilisation_ratio))', '{{level}}']],
        unit: 'percentunit',
        span: 8,
        amber: 0.9,
        red: 1.001,
        alert: 'MillraceOutOfCapacity',
      }),
    )
    .withPanel(
      lines({
        title: 'Permits granted',
        queries: [
          [
            `sum by (platform, endpoint) (${rate(`millrace_permits_granted_total{${P}}`)})`,
            '{{platform}}/{{endpoint}}',
          ],
          [`sum(${rate(`millrace_permits_dropped_total{${P}}`)}) ${NONE}`, 'dropped, too late'],
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
        title: 'Waiting for a permit',
        queries: [
          [`sum by (platform, endpoint) (millrace_jobs_queued{${P}})`, '{{platform}}/{{endpoint}}'],
          [`sum(millrace_jobs_in_flight{${P}})`, 'jobs in flight'],
          [
            `sum by (platform) (${rate(`millrace_jobs_parked_total{${P}}`)}) ${NONE}`,
            '{{platform}} parked a second',
          ],
        ],
        unit: 'short',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Wait for a permit, p95',
        queries: [
          [quantile(0.95, 'permit_wait_seconds', P, 'platform, endpoint'), '{{platform}}/{{endpoint}}'],
        ],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Held back, and for how much longer',
        queries: [[`max by (level) (millrace_limit_blocked_seconds{${I}}) > 0 ${NONE}`, '{{level}}']],
        unit: 's',
        span: 8,
        alert: 'MillraceQuotaEndsEarly',
      }),
    )
    .withPanel(
      lines({
        title: 'The limiter itself',
        queries: [
          [quantile(0.99, 'limiter_call_duration_seconds', I, ''), 'p99 of a call'],
          [
            `sum(${rate(`millrace_limiter_calls_total{${I},outcome="error"}`)}) / sum(${rate(`millrace_limiter_calls_total{${I}}`)}) ${NONE}`,
            'share of errors',
          ],
        ],
        unit: 's',
        span: 8,
        alert: 'MillraceLimiterAway',
      }),
    )
}
