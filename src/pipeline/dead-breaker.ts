import { REASONS, type Reason } from '../job/reason.ts'

export interface DeadBreakerOptions {
  /** Trips above this share of dead jobs, 0 to 1. */
  readonly share: number
  /** Of at least so many jobs. */
  readonly sample: number
}

/**
 * Watches, for each platform, how many of the last `sample` jobs were given up for reasons that are not the content's. When
 * nearly everything fails the cause is our environment, and draining the topic into the dead letters would make it worse.
 */
export class DeadBreaker {
  readonly #options: DeadBreakerOptions
  readonly #recent = new Map<string, { ring: Uint8Array; next: number; seen: number; dead: number }>()

  constructor(options: DeadBreakerOptions) {
    this.#options = options
  }

  /** Counts an ended job; true when this one trips the breaker. `reason` is null for a job that is not dead. */
  count(platform: string, reason: Reason | null): boolean {
    const { share, sample } = this.#options
    let recent = this.#recent.get(platform)
    if (recent === undefined) {
      recent = { ring: new Uint8Array(sample), next: 0, seen: 0, dead: 0 }
      this.#recent.set(platform, recent)
    }
    const dead = reason !== null && REASONS[reason].kind === 'environment' ? 1 : 0
    recent.dead += dead - recent.ring[recent.next]!
    recent.ring[recent.next] = dead
    recent.next = (recent.next + 1) % sample
    recent.seen = Math.min(recent.seen + 1, sample)
    if (recent.seen < sample || recent.dead <= share * sample) return false
    this.#recent.delete(platform)
    return true
  }
}
