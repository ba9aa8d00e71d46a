import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { Metrics } from './metrics.ts'

/** Sets what stays the same as long as the process lives: its version, and how much memory it may take. */
export function recordProcessFacts(metrics: Metrics, version: string): void {
  metrics.build_info.set({ version }, 1)
  metrics.memory_limit_bytes.set({ of: 'process' }, memoryLimitBytes())
  metrics.memory_limit_bytes.set({ of: 'heap' }, getHeapStatistics().heap_size_limit)
}

/** The container's, or the machine's where there is none: without a limit the first is 0 or beyond all memory. */
function memoryLimitBytes(): number {
  const constrained = process.constrainedMemory()
  const total = totalmem()
  return constrained > 0 && constrained < total ? constrained : total
}
