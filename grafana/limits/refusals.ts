import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines } from '../panels.ts'
import { I, L, NONE, P, rate } from '../queries.ts'

/** Row 3: does the upstream agree? */
export function refusals(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('Does the upstream agree?'))
    .withPanel(
      lines({
        title: 'Refused although permitted, in 10 minutes',
        queries: [
          [
            `sum by (platform, endpoint) (increase(millrace_upstream_rejections_total{${P}}[10m])) > 0 ${NONE}`,
            '{{platform}}/{{endpoint}}',
          ],
        ],
        unit: 'short',
        span: 6,
        alert: 'MillraceUpstreamRejecting',
      }),
    )
    .withPanel(
      lines({
        title: 'In use to less than all: the upstream said so',
        queries: [[`min by (level) (millrace_limit_factor_ratio{${L}})`, '{{level}}']],
        unit: 'percentunit',
        span: 6,
        alert: 'MillraceUpstreamRejecting',
      }),
    )
    .withPanel(
      lines({
        title: 'Permits that came too late to be used',
        queries: [
          [`sum by (platform) (${rate(`millrace_permits_dropped_total{${P}}`)}) ${NONE}`, '{{platform}}'],
        ],
        unit: 'ops',
        span: 6,
      }),
    )
    .withPanel(
      lines({
        title: 'Credentials that are refused, and platforms without any',
        queries: [
          [
            `max by (platform, credential) (millrace_credential_refused{${P}}) ${NONE}`,
            '{{platform}} {{credential}}',
          ],
          [`max by (platform) (millrace_platform_credentials{${I}} == bool 0)`, '{{platform}} has none'],
        ],
        unit: 'short',
        span: 6,
        alert: 'MillraceCredentialSetAside',
      }),
    )
}
