import type { IncomingMessage, ServerResponse } from 'node:http'
import { shared } from '../lib/shared.ts'
import { LateError, within } from '../lib/within.ts'
import {
  OPENMETRICS_TEXT,
  openMetrics,
  PROMETHEUS_TEXT,
  prefersOpenMetrics,
} from '../telemetry/exposition.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { send } from './respond.ts'

export interface MetricsPagePorts {
  readonly metrics: Metrics
  readonly log: Log
  /** Called ahead of every scrape: whatever is measured at that moment, such as EventLoopMonitor.record. */
  readonly beforeScrape?: readonly (() => void | Promise<void>)[]
}

const PREPARE_MS_MAX = 1_000

/** `/metrics`: what the registry holds, as Prometheus or OpenMetrics text. Scrapes at the same time share one reading. */
export class MetricsPage {
  readonly #ports: MetricsPagePorts
  readonly #text = shared(() => this.#render())

  constructor(ports: MetricsPagePorts) {
    this.#ports = ports
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await this.#text()
    if (!prefersOpenMetrics(request.headers.accept)) return send(response, 200, PROMETHEUS_TEXT, text)
    return send(response, 200, OPENMETRICS_TEXT, openMetrics(text))
  }

  async #render(): Promise<string> {
    for (const prepare of this.#ports.beforeScrape ?? []) {
      try {
        await within(prepare(), PREPARE_MS_MAX, () => new LateError('a metric did not come in time'))
      } catch (error) {
        // One figure less is better than no figures, least of all while something is wrong.
        this.#ports.log.warn({ err: error }, 'a metric could not be read for a scrape')
      }
    }
    return this.#ports.metrics.registry.metrics()
  }
}
