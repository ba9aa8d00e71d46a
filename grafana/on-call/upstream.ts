import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines } from '../panels.ts'
import { NONE, P, quantile, rate } from '../queries.ts'

/** Row 2: is it the upstream? */
export function upstream(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('Is it the upstream?'))
    .withPanel(
      lines({
        title: 'Replies by status',
        queries: [[`sum by (status) (${rate(`millrace_fetch_duration_seconds_count{${P}}`)})`, '{{status}}']],
        unit: 'ops',
        span: 8,
        stacked: true,
        alert: 'MillraceCredentialRefused',
      }),
    )
    .withPanel(
      lines({
        title: 'Time to a reply, p95',
        queries: [
          [quantile(0.95, 'fetch_duration_seconds', P, 'platform, endpoint'), '{{platform}}/{{endpoint}}'],
        ],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Refused although permitted',
        queries: [
          [
            `sum by (platform, endpoint) (increase(millrace_upstream_rejections_total{${P}}[10m])) > 0 ${NONE}`,
            '{{platform}}/{{endpoint}}',
          ],
        ],
        unit: 'short',
        span: 8,
        alert: 'MillraceUpstreamRejecting',
      }),
    )
    .withPanel(
      lines({
        title: 'Retries by reason',
        queries: [
          [
            `sum by (platform, reason) (${rate(`millrace_retries_total{${P}}`)}) ${NONE}`,
            '{{platform}} {{reason}}',
          ],
        ],
        unit: 'ops',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Dead letters by reason',
        queries: [
          [
            `sum by (platform, reason) (${rate(`millrace_dead_letters_total{${P}}`)}) > 0 ${NONE}`,
            '{{platform}} {{reason}}',
          ],
        ],
        unit: 'ops',
        span: 8,
        alert: 'MillraceDeadLetters',
      }),
    )
    .withPanel(
      lines({
        title: 'On their way, and platforms standing still',
        queries: [
          [`sum by (platform) (millrace_fetches_in_flight{${P}}) ${NONE}`, '{{platform}} in flight'],
          [`max by (platform) (millrace_breaker_open{${P}}) ${NONE}`, '{{platform}} breaker open'],
          [`max by (platform) (millrace_platform_paused{${P}}) ${NONE}`, '{{platform}} paused'],
        ],
        unit: 'short',
        span: 8,
        alert: 'MillracePlatformPaused',
      }),
    )
}
