import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { PermitDesk } from './permit-desk.ts'

export interface PlatformSwitchParts {
  readonly desk: Pick<PermitDesk, 'pause' | 'resume' | 'paused'>
  readonly metrics: Metrics
  readonly log: Log
}

/** Pauses a platform of this daemon and lets it go on, for whatever reason: it has no credentials, its jobs die, somebody says so. */
export class PlatformSwitch {
  readonly #parts: PlatformSwitchParts
  /** Platforms that have credentials: the others have nothing to go on with. */
  readonly #live: ReadonlySet<string>

  constructor(live: ReadonlySet<string>, parts: PlatformSwitchParts) {
    this.#live = live
    this.#parts = parts
  }

  get paused(): ReadonlyMap<string, string> {
    return new Map(this.#parts.desk.paused.map(({ platform, because }) => [platform, because]))
  }

  isLive(platform: string): boolean {
    return this.#live.has(platform)
  }

  /** The first reason stands until it goes on. */
  pause(platform: string, because: string): void {
    const { desk, metrics, log } = this.#parts
    if (!this.#live.has(platform) || this.paused.has(platform)) return
    desk.pause(platform, because)
    metrics.platform_paused.set({ platform }, 1)
    log.warn({ platform, because }, `${platform} is paused`)
  }

  /** Does nothing for a platform without credentials. */
  resume(platform: string): void {
    const { desk, metrics, log } = this.#parts
    if (!this.#live.has(platform) || !this.paused.has(platform)) return
    desk.resume(platform)
    metrics.platform_paused.set({ platform }, 0)
    log.info({ platform }, `${platform} goes on`)
  }
}
