import type { LevelState } from '../job/permit.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** Share of what the level sustains that was granted over the last minute, by all daemons; a burst may bring it above 1. */
export function utilisationOf(level: LevelState): number {
  return level.grantedLastMinute / (level.rate * 60)
}

/** For how much longer the level grants nothing, ms: by the upstream's word, or because its quota is spent. 0: it grants. */
export function blockedMsOf(state: LevelState, nowMs: number): number {
  const spentUntilMs = state.kind === 'quota' && state.remaining <= 0 ? state.resetsAtMs : 0
  return Math.max(0, state.blockedUntilMs - nowMs, spentUntilMs - nowMs)
}

/** Sets every metric of the levels of one platform. `nowMs`: Unix. */
export function recordLevels(metrics: Metrics, levels: readonly LevelState[], nowMs: number): void {
  for (const state of levels) {
    const { level, kind } = state
    metrics.limit_utilisation_ratio.set({ level }, utilisationOf(state))
    metrics.limit_factor_ratio.set({ level }, state.factor)
    metrics.limit_remaining_units.set({ level }, state.remaining)
    metrics.limit_capacity_units.set({ level }, state.capacity)
    metrics.limit_waiting_permits.set({ level }, state.waiting)
    metrics.limit_blocked_seconds.set({ level }, blockedMsOf(state, nowMs) / 1000)
    if (kind === 'quota')
      metrics.quota_reset_seconds.set({ level }, Math.max(0, state.resetsAtMs - nowMs) / 1000)
  }
}
