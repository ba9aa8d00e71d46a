import { collectDefaultMetrics, type Registry } from 'prom-client'
import { CATALOGUE, type MetricDefinition, type MetricName } from './catalogue.ts'
import { Counter, Gauge, Histogram } from './instruments.ts'
import { SlicedRegistry } from './registry.ts'

type LabelsOf<D extends MetricDefinition> = D['labels'][number]
type InstrumentOf<D extends MetricDefinition> = D['type'] extends 'counter'
  ? Counter<LabelsOf<D>>
  : D['type'] extends 'gauge'
    ? Gauge<LabelsOf<D>>
    : Histogram<LabelsOf<D>>

/** One instrument per entry of the catalogue, by its name without prefix, and the registry they stand in. */
export type Metrics = { readonly [Name in MetricName]: InstrumentOf<(typeof CATALOGUE)[Name]> } & {
  readonly registry: Registry
}

export const METRIC_PREFIX = 'millrace_'

/**
 * Gauges of prom-client that end in `_total`, which only counters may: `promtool check metrics` objects, and as OpenMetrics
 * they would be wrong. Each is the sum of a labelled gauge that stays (`nodejs_active_resources`, …).
 */
const MISNAMED_DEFAULTS = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

/** What the process of `millrace api` shows. A daemon's gauges in it would count it as a daemon that is not ready. */
export const API_METRICS: ReadonlySet<MetricName> = new Set([
  'api_ready',
  'api_request_duration_seconds',
  'api_answers_total',
  'api_stream_clients',
  'build_info',
  'event_loop_delay_seconds',
  'memory_limit_bytes',
])

/**
 * Registers the whole catalogue on a registry of its own; nothing global, so that a process (a test) can hold several.
 * `defaults` adds prom-client's `process_*` and `nodejs_*`, less three that are misnamed. With `only` the others can be used like
 * these, and are shown nowhere.
 */
export function createMetrics(options: { defaults?: boolean; only?: ReadonlySet<MetricName> } = {}): Metrics {
  const registry = new SlicedRegistry()
  const unseen = new SlicedRegistry()
  const instruments: Record<string, unknown> = { registry }
  for (const [name, definition] of Object.entries(CATALOGUE) as [MetricName, MetricDefinition][]) {
    const { type, help, labels, buckets = [] } = definition
    const base = { name: METRIC_PREFIX + name, help, labels }
    const shownIn = options.only?.has(name) === false ? unseen : registry
    if (type === 'counter') instruments[name] = new Counter(base, shownIn)
    else if (type === 'gauge') instruments[name] = new Gauge(base, shownIn)
    else instruments[name] = new Histogram({ ...base, buckets }, shownIn)
  }
  if (options.defaults === true) {
    collectDefaultMetrics({ register: registry })
    for (const name of MISNAMED_DEFAULTS) registry.removeSingleMetric(name)
  }
  // Built from the very catalogue that the type is computed from.
  return instruments as Metrics
}
