/**
 * The right to send one request to one endpoint, once, before its deadline. The fetch engine asks for one with every
 * request; there is no way around it. A permit that was granted counts against the limits whether it is used or not.
 */
export class Permit {
  readonly platform: string
  readonly endpoint: string
  readonly cost: number
  /** Names the grant at the limiter, so that the arrival can be acknowledged (see limiter/decide: causal windows). */
  readonly grant: string
  /** On the clock of `performance.now()`. Later than this the permit may not be used: the limiter counts it as spent by then. */
  readonly deadlineMs: number
  #spent = false

  constructor(fields: {
    platform: string
    endpoint: string
    cost: number
    grant: string
    deadlineMs: number
  }) {
    this.platform = fields.platform
    this.endpoint = fields.endpoint
    this.cost = fields.cost
    this.grant = fields.grant
    this.deadlineMs = fields.deadlineMs
  }

  /**
   * Takes the permit for one request. Returns false, and takes nothing, when it was spent before or is too late: a late
   * permit is dropped, never used.
   */
  spend(nowMs: number): boolean {
    if (this.#spent || nowMs > this.deadlineMs) return false
    this.#spent = true
    return true
  }
}

/** What a daemon wants of one platform, in one call. */
export interface Demand {
  /** Makes a repeated call harmless: the limiter answers a known id with what it answered before. */
  readonly requestId: string
  readonly platform: string
  readonly wants: readonly Want[]
  /** Grants whose requests have reached the upstream (response headers came back, or never will). */
  readonly acks: readonly Ack[]
}

/** `count` permits of `cost` units each, of one endpoint. */
export interface Want {
  readonly endpoint: string
  readonly count: number
  readonly cost: number
}

/** `units` (count × cost) of a grant that the upstream has seen by now. */
export interface Ack {
  readonly endpoint: string
  readonly grant: string
  readonly units: number
}

/** The answer to one `Want`, in the same order. */
export interface Grant {
  readonly endpoint: string
  /** How many of the wanted permits were granted: 0 to `count`. */
  readonly granted: number
  /** Names this grant for acknowledgements. Empty when nothing was granted. */
  readonly grant: string
  /** In how many ms the next permit could be had; 0 when all were granted. */
  readonly waitMs: number
  /** The level that holds the next permit back, e.g. `global`, `platform:tiktok`, `endpoint:tiktok/user_info`. */
  readonly level: string | null
}

/** How much of one level is used, for dashboards and `millrace limits`. */
export interface LevelState {
  readonly level: string
  readonly kind: 'bucket' | 'window'
  /** Units that could be granted at once now. */
  readonly remaining: number
  /** Bucket: the burst. Window: the limit. */
  readonly capacity: number
  /** Units a second that the level sustains. */
  readonly rate: number
  /** Unix ms until which the upstream's word blocks the level; 0 when not blocked. */
  readonly blockedUntilMs: number
  /** Units granted over the last minute, by all daemons together. */
  readonly grantedLastMinute: number
}

/**
 * The limits that all daemons share. An implementation decides all levels of a demand at once, atomically: a denial
 * charges nothing anywhere.
 */
export interface Limiter {
  /** Rejects with ServiceAwayError when the shared state cannot be reached: then nothing was granted. */
  decide(demand: Demand): Promise<readonly Grant[]>
  /** Blocks an endpoint, or the whole platform, for every daemon. Never shortens a block that is already longer. */
  block(target: { platform: string; endpoint?: string }, durationMs: number): Promise<void>
  /** Current state of every level of a platform, the global one included. */
  levels(platform: string): Promise<readonly LevelState[]>
  /** False while the shared state is away, and thus nothing is granted. */
  readonly healthy: boolean
  start(): Promise<void>
  stop(): Promise<void>
}
