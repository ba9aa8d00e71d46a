import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { healthy } from './on-call/health.ts'
import { limits } from './on-call/limits.ts'
import { sinksOrUs } from './on-call/sinks.ts'
import { upstream } from './on-call/upstream.ts'
import { page } from './page.ts'

/** *On call*: is it healthy; is it the upstream; the limits; the sinks, or us. Read from top to bottom, first oddity wins. */
export function onCall(): Dashboard {
  const dashboard = page({
    title: 'on call',
    uid: 'millrace-on-call',
    description: 'Is it healthy? Is it the upstream? The limits? The sinks, or us? Read from top to bottom.',
  })
  healthy(dashboard)
  upstream(dashboard)
  limits(dashboard)
  sinksOrUs(dashboard)
  return dashboard.build()
}
