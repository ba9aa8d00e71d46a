import type { LevelState } from '../job/permit.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** Share of what the level sustains that was granted over the last minute, by all daemons; a burst may bring it above 1. */
export function utilisationOf(level: LevelState): number {
  return level.grantedLastMinute / (level.rate * 60)
}

/** Sets limit_utilisation_ratio and limit_factor_ratio from the levels of one platform. */
export function recordUtilisation(metrics: Metrics, levels: readonly LevelState[]): void {
  for (const level of levels) {
    metrics.limit_utilisation_ratio.set({ level: level.level }, utilisationOf(level))
    metrics.limit_factor_ratio.set({ level: level.level }, level.factor)
  }
}
