import { CATALOGUE, type MetricDefinition } from '../../src/telemetry/catalogue.ts'
import { Counter, Gauge, Histogram } from '../../src/telemetry/instruments.ts'
import { METRIC_PREFIX, type Metrics } from '../../src/telemetry/metrics.ts'

export interface Size {
  readonly platforms: number
  /** Of each platform. */
  readonly endpoints: number
}

/** Every metric with every combination of its labels that a daemon of this size could have; returns how many lines that makes. */
export function fillSeries(into: Metrics, { platforms, endpoints }: Size): number {
  const names = (what: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${what}_${index}`)
  const many: Record<string, readonly string[]> = {
    platform: names('platform', platforms),
    endpoint: names('endpoint', endpoints),
    level: [...names('platform:platform', platforms), ...names('endpoint:platform', platforms * endpoints)],
    status: ['2xx', '4xx'],
    reason: ['timeout', 'not_found', 'upstream_error', 'rate_limited'],
    job_type: ['profile', 'media'],
    outcome: ['done', 'dead'],
    partition: names('', 12),
  }
  // Which level holds a call back is one of a few, not any.
  const few = { ...many, level: ['global', 'platform:x'] }
  let lines = 0
  for (const [name, { type, labels, buckets = [] }] of Object.entries(CATALOGUE) as [
    string,
    MetricDefinition,
  ][]) {
    const instrument = into.registry.getSingleMetric(METRIC_PREFIX + name)
    const isOfEndpoint = labels.includes('endpoint') && labels.includes('level')
    for (const combination of combine(labels, isOfEndpoint ? few : many)) {
      lines += type === 'histogram' ? buckets.length + 3 : 1
      if (instrument instanceof Counter) instrument.inc(combination, 12_345)
      else if (instrument instanceof Gauge) instrument.set(combination, 0.123_45)
      else if (instrument instanceof Histogram) instrument.observe(combination, 0.123_45)
    }
  }
  return lines
}

function combine(
  labels: readonly string[],
  of: Readonly<Record<string, readonly string[]>>,
): Record<string, string>[] {
  let all: Record<string, string>[] = [{}]
  for (const label of labels) {
    all = all.flatMap((one) => (of[label] ?? ['only']).map((value) => ({ ...one, [label]: value })))
  }
  return all
}
