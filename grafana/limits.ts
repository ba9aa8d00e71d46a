import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { levels } from './limits/levels.ts'
import { quotas } from './limits/quotas.ts'
import { refusals } from './limits/refusals.ts'
import { waiting } from './limits/waiting.ts'
import { page } from './page.ts'

/** *Limits*: each level with what is used, what waits behind it and what the upstream says of it. */
export function limits(): Dashboard {
  const dashboard = page({
    title: 'limits',
    uid: 'millrace-limits',
    description:
      'Which limit decides, how long the quotas last, and whether the upstream agrees with our figures.',
  })
  levels(dashboard)
  quotas(dashboard)
  refusals(dashboard)
  waiting(dashboard)
  return dashboard.build()
}
