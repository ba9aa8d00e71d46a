import { CATALOGUE } from '../../src/telemetry/catalogue.ts'
import { Counter, Gauge, Histogram } from '../../src/telemetry/instruments.ts'
import { METRIC_PREFIX, type Metrics } from '../../src/telemetry/metrics.ts'

/** Values as a daemon would give them, for every label of the catalogue. */
const LABELS: Readonly<Record<string, string>> = {
  platform: 'tiktok',
  job_type: 'profile',
  endpoint: 'user_info',
  status: '2xx',
  topic: 'millrace.jobs',
  partition: '0',
  reason: 'timeout',
  level: 'platform:tiktok',
  stage: 'resize',
  table: 'points',
  service: 'clickhouse',
  stat: 'p99',
  credential: 'main',
  of: 'process',
  version: '0.1.0',
  route: '/v1/creators',
  state: 'hit',
}

/** Of labels whose values depend on the metric. */
const OUTCOMES: Readonly<Record<string, string>> = {
  jobs_finished_total: 'done',
  pictures_total: 'stored',
}

/** Counts, sets or observes every metric of the catalogue once, as a daemon under load would. */
export function exercise(metrics: Metrics): void {
  for (const [name, { labels }] of Object.entries(CATALOGUE)) {
    const values: Record<string, string> = {}
    for (const label of labels) {
      const value = label === 'outcome' ? (OUTCOMES[name] ?? 'ok') : LABELS[label]
      if (value === undefined) throw new Error(`${name}: say a value for its label ${label}`)
      values[label] = value
    }
    const instrument = metrics.registry.getSingleMetric(METRIC_PREFIX + name)
    if (instrument instanceof Counter) instrument.inc(values, 2)
    else if (instrument instanceof Gauge) instrument.set(values, name.endsWith('_ratio') ? 0.5 : 1)
    else if (instrument instanceof Histogram) instrument.observe(values, 0.2)
  }
}
