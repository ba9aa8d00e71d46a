import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines } from '../panels.ts'
import { NONE } from '../queries.ts'

const QUOTA = 'level=~"quota:(?:$platform)(?:/.*)?"'
const LEFT = `min by (level) (millrace_limit_remaining_units{${QUOTA}})`

/** Row 2: quotas of the calendar. Without any the panels say zero. */
export function quotas(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('Quotas'))
    .withPanel(
      lines({
        title: 'Units left',
        queries: [[`${LEFT} ${NONE}`, '{{level}}']],
        unit: 'short',
        span: 8,
        alert: 'MillraceQuotaEndsEarly',
      }),
    )
    .withPanel(
      lines({
        title: 'Spent in, at this rate',
        // Of a quota that nobody uses there is no moment to tell.
        queries: [
          [
            `millrace:quota_remaining_units:min{${QUOTA}} / -(deriv(millrace:quota_remaining_units:min{${QUOTA}}[2h]) < 0) ${NONE}`,
            '{{level}}',
          ],
        ],
        unit: 's',
        span: 8,
        alert: 'MillraceQuotaEndsEarly',
      }),
    )
    .withPanel(
      lines({
        title: 'Begins anew in',
        queries: [[`min by (level) (millrace_quota_reset_seconds{${QUOTA}}) ${NONE}`, '{{level}}']],
        unit: 's',
        span: 8,
      }),
    )
}
