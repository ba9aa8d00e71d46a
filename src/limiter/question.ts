/**
 * How to begin when nothing is known of what was granted before (a first start, or a store that lost its data, which look
 * the same from here): `empty` starts with empty buckets and windows that stay full for `grantTimeoutMs` and one window;
 * `full` grants at once, and may break limits if somebody was granted something shortly before. A quota counts as unused either
 * way, but for what daemons remember of it: to wait for the next day would be worse than to be told by the platform.
 */
export type ColdStart = 'empty' | 'full'

/** A bucket as GCRA (ITU-T I.371): one unit every `intervalUs`, ahead of schedule by `toleranceUs` at most. */
export interface BucketTerms {
  readonly name: string
  readonly kind: 'bucket'
  readonly intervalUs: number
  readonly toleranceUs: number
  /** A lowered limit rises by one step in this time. */
  readonly stepUs: number
}

export interface WindowTerms {
  readonly name: string
  readonly kind: 'window'
  readonly limit: number
  readonly windowUs: number
  /** Times in the log are rounded up to multiples of this, which bounds the log's length and costs 0.1% of a window at most. */
  readonly grainUs: number
  /** A grant without acknowledgement counts as arrived this long after it was given. */
  readonly arriveUs: number
  /** Whether acknowledgements count. */
  readonly causal: boolean
  readonly stepUs: number
}

export interface QuotaTerms {
  readonly name: string
  readonly kind: 'quota'
  readonly limit: number
  /** When periods begin, ascending, around now. */
  readonly startsUs: readonly number[]
  /** A grant this close to the end of a period counts in the next one too. */
  readonly overlapUs: number
  /** What the daemon last knew of a period, and what it has used since without the store. */
  readonly seen: { readonly endsUs: number; readonly used: number; readonly owed: number }
  readonly stepUs: number
}

export type LevelTerms = BucketTerms | WindowTerms | QuotaTerms

/** What every question to a decider says, in whole microseconds and units. Sent to the script as JSON. */
interface Terms {
  readonly coldStart: ColdStart
  readonly platform: string
  /** All levels that the question is about, each once. */
  readonly levels: readonly LevelTerms[]
}

export interface WantTerms {
  /** What it is queued under: the endpoint, and the credential if there are several. Wants are sorted by it. */
  readonly lane: string
  /** Indices of `levels`, widest first, and what one permit takes from each. */
  readonly levels: readonly number[]
  readonly charges: readonly number[]
  readonly count: number
  readonly waiting: number
}

/** Who asks, among daemons that each go on with a share of the limits while the store is away. */
export interface MembershipTerms {
  readonly daemon: string
  readonly daemonsMax: number
  /** Whoever has not been heard of for longer is taken to be away, and to use its share. */
  readonly graceUs: number
  /** For this long at most. */
  readonly leaseUs: number
  /** Until what was sent has left every window, and an emptied bucket is full again. */
  readonly settleUs: number
  /** When the store executed the last call whose answer the daemon heard, by the store's clock; 0 before the first one. */
  readonly heardUs: number
  /** It has used its share since it was last heard. */
  readonly returned: boolean
  /** It stops: it will use nothing. */
  readonly leaves: boolean
}

export interface DecideQuestion extends Terms {
  readonly op: 'decide'
  readonly membership?: MembershipTerms | undefined
  readonly id: string
  /** Who asks, and for which platform; empty when it is alone, and has nobody to share with. */
  readonly daemon: string
  /** A repeated call is told its permits again for this long; afterwards they are too old to be used. */
  readonly replayUs: number
  readonly permitsMax: number
  readonly wants: readonly WantTerms[]
  /** `levels`: causal windows that the grant may be pending in. */
  readonly acks: readonly {
    readonly levels: readonly number[]
    readonly grant: string
    readonly arrived: number
  }[]
}

/** An upstream's word about the one level. */
export interface LearnQuestion extends Terms {
  readonly op: 'learn'
  readonly blockUs: number
  readonly spentUs: number
  readonly rejected: boolean
  /** Thousandths of the limit; 1000: no word about it. */
  readonly cap: number
}

/** Lifts a block and restores the whole limit of the one level. */
export interface ForgiveQuestion extends Terms {
  readonly op: 'forgive'
}

/** Takes `charges[i]` units from `levels[i]`, whether it has them or not: somebody else has used them. */
export interface ChargeQuestion extends Terms {
  readonly op: 'charge'
  readonly charges: readonly number[]
}

export interface LevelsQuestion extends Terms {
  readonly op: 'levels'
}

export type Question = DecideQuestion | LearnQuestion | ForgiveQuestion | ChargeQuestion | LevelsQuestion

/** The answer to one want, in the question's order. */
export interface Verdict {
  readonly granted: number
  readonly waitUs: number
  /** Index of the question's levels, plus one; 0: none. */
  readonly level: number
  /** Units that every level still has for this want. */
  readonly remaining: number
  /** A window that is more than half full, whatever holds it back: index plus one; 0: none. */
  readonly tight: number
}

/** What is used of a quota, for daemons to remember. */
export interface QuotaReading {
  /** Index of the question's levels. */
  readonly level: number
  readonly endsUs: number
  readonly used: number
}

/** One level's state, in the question's order. */
export interface LevelReading {
  readonly remaining: number
  /** Unix microseconds, 0 when not blocked. */
  readonly blockedUntilUs: number
  readonly factor: number
  /** Unix microseconds; 0 for what is no quota. */
  readonly endsUs: number
  /** Units granted in the last `spanUs`. */
  readonly granted: number
  readonly spanUs: number
  /** Permits. */
  readonly waiting: number
}

/** Names a grant. Derived from the request, so that a repetition names the same ones; unique as long as request ids are. */
export function grantName(requestId: string, want: number): string {
  return `${requestId}/${want}`
}

/** By code units, which for the names we allow is by bytes, as the script compares. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
