import type { Platform } from '../job/platform.ts'
import { REASONS } from '../job/reason.ts'
import type { Metrics } from './metrics.ts'

const OUTCOMES = ['done', 'skipped', 'dead']

/**
 * Lets the counters that alerts watch begin at zero. A rate needs a figure before: what a counter is born with is never seen, and
 * that may be a hundred jobs that died between two scrapes.
 */
export function beginAtZero(metrics: Metrics, { name: platform, jobs, endpoints }: Platform): void {
  for (const reason of Object.keys(REASONS)) metrics.dead_letters_total.inc({ platform, reason }, 0)
  for (const job_type of Object.keys(jobs)) {
    for (const outcome of OUTCOMES) metrics.jobs_finished_total.inc({ platform, job_type, outcome }, 0)
  }
  for (const endpoint of Object.keys(endpoints)) {
    metrics.upstream_rejections_total.inc({ platform, endpoint }, 0)
  }
}
