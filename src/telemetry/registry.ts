import { setImmediate as nextTurn } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { Instrument } from './instruments.ts'

/** So long a scrape holds the event loop at a time. */
const SLICE_MS = 2
/** Between two looks at the clock. */
const BLOCKS_A_LOOK = 32

/**
 * prom-client's registry, which writes our own instruments itself: from lines that were made once, and with pauses, so that a large
 * scrape delays no job. (50 platforms of 20 endpoints are 79,000 lines; prom-client writes them in one go.)
 */
export class SlicedRegistry extends Registry {
  override async metrics(): Promise<string> {
    const parts: string[] = []
    let sliceEndMs = performance.now() + SLICE_MS
    let blocks = 0
    for (const { name } of this.getMetricsAsArray()) {
      const metric: unknown = this.getSingleMetric(name)
      if (!(metric instanceof Instrument)) {
        parts.push(await this.getSingleMetricAsString(name), '\n\n')
        continue
      }
      for (const block of metric.blocks()) {
        parts.push(block)
        blocks += 1
        if (blocks % BLOCKS_A_LOOK !== 0 || performance.now() < sliceEndMs) continue
        await nextTurn()
        sliceEndMs = performance.now() + SLICE_MS
      }
      parts.push('\n')
    }
    return parts.join('')
  }
}
