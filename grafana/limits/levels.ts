import { type DashboardBuilder, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { lines, table } from '../panels.ts'
import { L } from '../queries.ts'

/** A level's figures are the same in every daemon; who has not asked lately knows an older one. */
const most = (metric: string) => `max by (level) (millrace_${metric}{${L}})`
const least = (metric: string) => `min by (level) (millrace_${metric}{${L}})`

/** Row 1: each level. */
export function levels(dashboard: DashboardBuilder): void {
  dashboard
    .withRow(new RowBuilder('Each level'))
    .withPanel(
      table({
        title: 'Each level now',
        by: 'level',
        columns: [
          ['used in the last minute', most('limit_utilisation_ratio'), 'percentunit'],
          ['left', least('limit_remaining_units'), 'short'],
          ['holds', most('limit_capacity_units'), 'short'],
          ['waiting', most('limit_waiting_permits'), 'short'],
          ['blocked for', most('limit_blocked_seconds'), 's'],
          ['in use to', least('limit_factor_ratio'), 'percentunit'],
        ],
        span: 24,
        alert: 'MillraceOutOfCapacity',
      }),
    )
    .withPanel(
      lines({
        title: 'Used',
        queries: [[most('limit_utilisation_ratio'), '{{level}}']],
        unit: 'percentunit',
        span: 8,
        alert: 'MillraceOutOfCapacity',
      }),
    )
    .withPanel(
      lines({
        title: 'Waiting behind it',
        queries: [[most('limit_waiting_permits'), '{{level}}']],
        unit: 'short',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Blocked, for how much longer',
        queries: [[most('limit_blocked_seconds'), '{{level}}']],
        unit: 's',
        span: 8,
      }),
    )
}
