import { Bucket, type Level, SlidingWindow } from './levels.ts'
import type { Played, SimulatorLimits } from './options.ts'
import { RollingHour } from './rolling-hour.ts'
import { WatchedLevel } from './watched-level.ts'

/** Names are the limiter's own: `global`, `platform:x`, `endpoint:x/y`, `credential:x/1` by the number of the account. */
export interface LevelReport {
  readonly level: string
  readonly kind: 'bucket' | 'window'
  readonly capacity: number
  /** Requests a second that the level sustains. */
  readonly rate: number
  readonly windowMs: number | null
  /** All arrivals, violations included. */
  readonly arrivals: number
  readonly admitted: number
  /** Arrivals over the limit of this very level. */
  readonly violations: number
  /** Windows: the most arrivals in any window. */
  readonly maxInWindow: number | null
  /** Largest share of the capacity in use at any arrival. */
  readonly peakUtilisation: number
  /** Admitted, over what the rate sustains between first and last arrival. Above 1 while a burst is spent; 0 below a second. */
  readonly meanUtilisation: number
  /** Unix ms. */
  readonly firstArrivalMs: number | null
  readonly lastArrivalMs: number | null
}

/** What `GET /oracle` answers. */
export interface OracleReport {
  readonly arrivals: number
  readonly admitted: number
  /** Arrivals over at least one limit. */
  readonly violations: number
  readonly quotaRefusals: number
  readonly pictures: number
  readonly picturesNotModified: number
  /** The longest, ms, that an arrival may have waited unseen while the simulator stood still; 0 where it never did. */
  readonly unseenMsMax: number
  /** Calls being answered right now, and the most at once. */
  readonly inFlight: number
  readonly inFlightMax: number
  /** Unix ms. */
  readonly firstArrivalMs: number | null
  readonly lastArrivalMs: number | null
  readonly levels: readonly LevelReport[]
  readonly byStatus: Readonly<Record<string, number>>
  readonly byEndpoint: Readonly<Record<string, number>>
  /** Arrivals by `platform/account`, as far as the caller is known. */
  readonly byAccount: Readonly<Record<string, number>>
  /** Replies that were written, by `platform/endpoint` and status. Arrivals without one: their callers had gone. */
  readonly answered: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** Faults by kind: error, throttle, html, truncated, error_body, empty, torn. */
  readonly injected: Readonly<Record<string, number>>
}

/** What an arrival is met with. */
export interface Verdict {
  readonly admitted: boolean
  /** When refused: in how many ms it would have been admitted, and the level that is furthest from it. */
  readonly waitMs: number
  readonly level: string | null
}

const HOUR_S = 3600
const ADMITTED: Verdict = { admitted: true, waitMs: 0, level: null }

/**
 * Judges every arrival by all its levels at once, exactly: over any of them it is a violation, refused, and charged nowhere. Keeps
 * the counts that `GET /oracle` reports. Endpoints have a level of their own from their first arrival on; names come from the
 * simulator's own routing, so there are few.
 */
export class Oracle {
  readonly #limits: SimulatorLimits
  readonly #unixOffsetMs: number
  readonly #levels = new Map<string, WatchedLevel>()
  readonly #chains = new Map<string, readonly WatchedLevel[]>()
  readonly #hours: Readonly<Record<Played, RollingHour>> = {
    instagram: new RollingHour(),
    tiktok: new RollingHour(),
    youtube: new RollingHour(),
  }
  #byStatus = new Map<number, number>()
  #byEndpoint = new Map<string, number>()
  #byAccount = new Map<string, number>()
  #answered = new Map<string, Map<number, number>>()
  #injected = new Map<string, number>()
  #arrivals = 0
  #admitted = 0
  #violations = 0
  #firstMs = Number.NaN
  #lastMs = Number.NaN
  #unseenMsMax = 0
  quotaRefusals = 0
  pictures = 0
  picturesNotModified = 0
  #inFlight = 0
  #inFlightMax = 0

  /** `unixOffsetMs`: what to add to an arrival's time to have Unix time. */
  constructor(limits: SimulatorLimits, unixOffsetMs: number) {
    this.#limits = limits
    this.#unixOffsetMs = unixOffsetMs
    // Named limits stand in the report from the beginning, also before anybody came.
    for (const name of Object.keys(limits.endpoints)) {
      const [platform, endpoint] = name.split('/')
      this.#chain(platform as Played, endpoint!, undefined)
    }
    for (const platform of Object.keys(limits.platforms))
      this.#chain(platform as Played, undefined, undefined)
  }

  /**
   * `account`: the caller's, undefined where nobody knows it. `waitedMs`: it may have come so much earlier, because nobody looked
   * (`Standstill`); then it is a violation only when it would have been one at every moment since.
   */
  arrive(
    platform: Played,
    endpoint: string | undefined,
    nowMs: number,
    account?: number,
    waitedMs = 0,
  ): Verdict {
    const sinceMs = nowMs - waitedMs
    this.#unseenMsMax = Math.max(this.#unseenMsMax, waitedMs)
    const chain = this.#chain(platform, endpoint, account)
    if (account !== undefined) increment(this.#byAccount, `${platform}/${account}`)
    this.#arrivals += 1
    this.#inFlight += 1
    if (this.#inFlight > this.#inFlightMax) this.#inFlightMax = this.#inFlight
    if (Number.isNaN(this.#firstMs)) this.#firstMs = nowMs
    this.#lastMs = nowMs
    if (endpoint !== undefined) increment(this.#byEndpoint, `${platform}/${endpoint}`)
    let waitMs = 0
    let worst: string | null = null
    for (const watched of chain) {
      watched.arrivals += 1
      if (Number.isNaN(watched.firstMs)) watched.firstMs = nowMs
      watched.lastMs = nowMs
      const wait = watched.waitMs(nowMs, sinceMs)
      if (wait === 0) continue
      watched.violations += 1
      if (wait > waitMs) {
        waitMs = wait
        worst = watched.name
      }
    }
    if (worst !== null) {
      for (const watched of chain) watched.refuse(nowMs, sinceMs)
      this.#violations += 1
      return { admitted: false, waitMs, level: worst }
    }
    this.#admitted += 1
    for (const watched of chain) watched.admit(nowMs, sinceMs)
    this.#hours[platform].add(nowMs)
    return ADMITTED
  }

  /** The call that arrived is being answered, or its caller has gone. */
  leave(): void {
    this.#inFlight -= 1
  }

  answered(platform: Played, endpoint: string | undefined, status: number): void {
    increment(this.#byStatus, status)
    if (endpoint === undefined) return
    const name = `${platform}/${endpoint}`
    let byStatus = this.#answered.get(name)
    if (byStatus === undefined) {
      byStatus = new Map()
      this.#answered.set(name, byStatus)
    }
    increment(byStatus, status)
  }

  injected(what: string): void {
    increment(this.#injected, what)
  }

  /**
   * The calls that were admitted within the last hour, in percent of what the platform's level allows in an hour, its burst
   * included. At most 99, because who hears it was let in; 0 when the platform is wide open.
   */
  usedPercent(platform: Played, nowMs: number): number {
    const limit = this.#limits.platforms[platform]
    if (limit === undefined) return 0
    const allowed = limit.rate * HOUR_S + limit.burst
    return Math.min(99, Math.round((this.#hours[platform].total(nowMs) / allowed) * 100))
  }

  /**
   * `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11, names and values, for the endpoint's window, by
   * the name of its level; empty when it has none. Seconds are whole and rounded up: who keeps to them keeps the window. Buckets
   * are left out, being no quota in a time.
   */
  rateFields(
    platform: Played,
    endpoint: string | undefined,
    nowMs: number,
  ): readonly (readonly [name: string, value: string])[] {
    for (const { name, level } of this.#chain(platform, endpoint, undefined)) {
      if (!(level instanceof SlidingWindow)) continue
      const { free, moreInMs } = level.room(nowMs)
      const renewed = moreInMs === undefined ? '' : `;t=${Math.ceil(moreInMs / 1000)}`
      return [
        ['ratelimit-policy', `"${name}";q=${level.capacity};w=${Math.ceil(level.windowMs / 1000)}`],
        ['ratelimit', `"${name}";r=${free}${renewed}`],
      ]
    }
    return []
  }

  /** Starts counting afresh. What was admitted still counts against the limits: a reset is no amnesty. */
  reset(): void {
    for (const watched of this.#levels.values()) watched.forget()
    this.#byStatus = new Map()
    this.#byEndpoint = new Map()
    this.#byAccount = new Map()
    this.#answered = new Map()
    this.#injected = new Map()
    this.#arrivals = 0
    this.#admitted = 0
    this.#violations = 0
    this.#firstMs = Number.NaN
    this.#lastMs = Number.NaN
    this.#unseenMsMax = 0
    this.quotaRefusals = 0
    this.pictures = 0
    this.picturesNotModified = 0
    this.#inFlightMax = this.#inFlight
  }

  report(): OracleReport {
    const unix = (ms: number) => (Number.isNaN(ms) ? null : Math.round(ms + this.#unixOffsetMs))
    return {
      arrivals: this.#arrivals,
      admitted: this.#admitted,
      violations: this.#violations,
      quotaRefusals: this.quotaRefusals,
      pictures: this.pictures,
      picturesNotModified: this.picturesNotModified,
      unseenMsMax: Math.round(this.#unseenMsMax),
      inFlight: this.#inFlight,
      inFlightMax: this.#inFlightMax,
      firstArrivalMs: unix(this.#firstMs),
      lastArrivalMs: unix(this.#lastMs),
      levels: [...this.#levels.values()].map((watched): LevelReport => {
        const { level, admitted, firstMs, lastMs } = watched
        const elapsedS = (lastMs - firstMs) / 1000
        const peak = level.maxInWindow === null ? watched.peak : level.maxInWindow / level.capacity
        return {
          level: watched.name,
          kind: level.kind,
          capacity: level.capacity,
          rate: level.rate,
          windowMs: level.windowMs,
          arrivals: watched.arrivals,
          admitted,
          violations: watched.violations,
          maxInWindow: level.maxInWindow,
          peakUtilisation: peak,
          meanUtilisation: elapsedS >= 1 ? admitted / (level.rate * elapsedS) : 0,
          firstArrivalMs: unix(firstMs),
          lastArrivalMs: unix(lastMs),
        }
      }),
      byStatus: Object.fromEntries(this.#byStatus),
      byEndpoint: Object.fromEntries(this.#byEndpoint),
      byAccount: Object.fromEntries(this.#byAccount),
      answered: Object.fromEntries(
        [...this.#answered].map(([name, byStatus]) => [name, Object.fromEntries(byStatus)]),
      ),
      injected: Object.fromEntries(this.#injected),
    }
  }

  #chain(
    platform: Played,
    endpoint: string | undefined,
    account: number | undefined,
  ): readonly WatchedLevel[] {
    const key = `${platform}/${endpoint ?? ''}`
    const { global, platforms, endpoints, defaultEndpoint, accounts } = this.#limits
    const own = account === undefined ? undefined : accounts?.[platform]
    const chainKey = own === undefined ? key : `${key}@${account}`
    const known = this.#chains.get(chainKey)
    if (known !== undefined) return known
    const bucket = platforms[platform]
    const window = endpoint === undefined ? undefined : (endpoints[key] ?? defaultEndpoint)
    const chain = [
      global === undefined ? undefined : this.#level('global', () => new Bucket(global)),
      bucket === undefined ? undefined : this.#level(`platform:${platform}`, () => new Bucket(bucket)),
      window === undefined ? undefined : this.#level(`endpoint:${key}`, () => new SlidingWindow(window)),
      own === undefined ? undefined : this.#level(`credential:${platform}/${account}`, () => new Bucket(own)),
    ].filter((watched) => watched !== undefined)
    this.#chains.set(chainKey, chain)
    return chain
  }

  #level(name: string, create: () => Level): WatchedLevel {
    const known = this.#levels.get(name)
    if (known !== undefined) return known
    const watched = new WatchedLevel(name, create())
    this.#levels.set(name, watched)
    return watched
  }
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
