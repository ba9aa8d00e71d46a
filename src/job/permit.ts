/**
 * The right to send one request to one endpoint, once, before its deadline. The fetch engine asks for one with every
 * request; there is no way around it. A permit that was granted counts against the limits whether it is used or not.
 */
export class Permit {
  readonly platform: string
  readonly endpoint: string
  /** Whose quota it counts against, where a platform has several credentials. */
  readonly credential: string | undefined
  /** Names the grant at the limiter, so that the arrival can be acknowledged (see limiter/decide: causal windows). */
  readonly grant: string
  /** On the clock of `performance.now()`. Later than this the permit may not be used: the limiter counts it as spent by then. */
  readonly deadlineMs: number
  #spent = false

  constructor(fields: {
    platform: string
    endpoint: string
    credential?: string | undefined
    grant: string
    deadlineMs: number
  }) {
    this.platform = fields.platform
    this.endpoint = fields.endpoint
    this.credential = fields.credential
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
  /** At most this many permits in all, e.g. the free sockets; the limiter shares them among the wants. Default: no bound. */
  readonly permitsMax?: number | undefined
}

/** `count` permits of `cost` units each, of one endpoint. */
export interface Want {
  readonly endpoint: string
  /** Whose quota it counts against, where a platform has several credentials. */
  readonly credential?: string | undefined
  readonly count: number
  readonly cost: number
  /** How many wait in the daemon in all, for `levels` to show. Default: `count`. */
  readonly waiting?: number | undefined
}

/** How many permits of a grant have been used up by now: all of them since it was given, so that saying it twice is harmless. */
export interface Ack {
  readonly endpoint: string
  readonly credential?: string | undefined
  readonly grant: string
  readonly arrived: number
}

/** The answer to one `Want`, in the same order. */
export interface Grant {
  readonly endpoint: string
  /** How many of the wanted permits were granted: 0 to `count`. */
  readonly granted: number
  /** Names this grant for acknowledgements. Empty when nothing was granted. */
  readonly grant: string
  /** In how many ms the next permit could be had; 0 when all were granted, or when only `permitsMax` was in the way. */
  readonly waitMs: number
  /** The level that holds the next permit back, e.g. `global`, `platform:tiktok`, `endpoint:tiktok/user_info`. */
  readonly level: string | null
  /**
   * How much later than need be the limiter may be asked again, and told of arrivals, for a loss of two percent at most: calls that
   * are put off until they have more to say are fewer.
   */
  readonly gatherMs: number
}

export type LevelKind = 'bucket' | 'window' | 'quota'

/** How much of one level is used, for dashboards and `millrace limits`. */
export interface LevelState {
  readonly level: string
  readonly kind: LevelKind
  /** Units that could be granted at once now. */
  readonly remaining: number
  /** Bucket: the burst. Window and quota: the limit. As configured, whatever `factor` is. */
  readonly capacity: number
  /** Units a second that the level sustains, as configured. */
  readonly rate: number
  /** Share of the limit in use, 0 to 1: below 1 since the upstream refused calls that were within it, or said that it allows less. */
  readonly factor: number
  /** Unix ms until which the upstream's word blocks the level; 0 when not blocked. */
  readonly blockedUntilMs: number
  /** Quota: when it begins anew, Unix ms. Otherwise 0. */
  readonly resetsAtMs: number
  /** Units granted over the last minute, by all daemons together. */
  readonly grantedLastMinute: number
  /** Permits that daemons asked for and that this level holds back. */
  readonly waiting: number
}

/** The level that an upstream's reply is about: an endpoint's, a credential's own, or without either the platform as a whole. */
export interface LimitTarget {
  readonly platform: string
  readonly endpoint?: string | undefined
  readonly credential?: string | undefined
}

/** What an upstream's reply says about its limits. */
export interface Advice {
  /** Send nothing for this long, ms from now. */
  readonly blockMs?: number | undefined
  /**
   * By its own count nothing is left for this long, ms from now. As good as a block, unless our count says nearly the same: whoever
   * uses a limit to the full hears it with every reply.
   */
  readonly spentMs?: number | undefined
  /** It refused a call that was within our limits. */
  readonly rejected?: boolean | undefined
  /** Use no more than this share of our limit, (0, 1]. */
  readonly share?: number | undefined
  /** The limit as the upstream states it: units in any window of `windowMs`. */
  readonly policy?: { readonly limit: number; readonly windowMs: number } | undefined
}

/**
 * The limits that all daemons share. An implementation decides all levels of a demand at once, atomically: a denial
 * charges nothing anywhere.
 */
export interface Limiter {
  /** Rejects with ServiceAwayError when the shared state cannot be reached: then nothing was granted. */
  decide(demand: Demand): Promise<readonly Grant[]>
  /**
   * Takes an upstream's word for every daemon: a block (never shortens one that is longer), and a lower limit, which rises again
   * step by step. `rejected` lowers it once for all refusals within a few seconds.
   */
  learn(target: LimitTarget, advice: Advice): Promise<void>
  /** Current state of every level of a platform, the global one included. */
  levels(platform: string): Promise<readonly LevelState[]>
  /** False while the shared state is away, and thus nothing is granted. */
  readonly healthy: boolean
  start(): Promise<void>
  stop(): Promise<void>
}
