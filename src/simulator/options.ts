/** The platforms that the simulator plays. */
export const PLAYED = ['instagram', 'tiktok', 'youtube'] as const
export type Played = (typeof PLAYED)[number]

/** A token bucket: `rate` requests a second, `burst` at once. */
export interface BucketLimit {
  readonly rate: number
  readonly burst: number
}

/** At most `limit` requests in any period of `windowMs`. */
export interface WindowLimit {
  readonly limit: number
  readonly windowMs: number
}

/** What the simulator enforces. A level that is left out (undefined) is wide open. */
export interface SimulatorLimits {
  readonly global?: BucketLimit | undefined
  readonly platforms: Readonly<Partial<Record<Played, BucketLimit>>>
  /** By `platform/endpoint`, e.g. `instagram/user_profile`. */
  readonly endpoints: Readonly<Record<string, WindowLimit>>
  /** For endpoints that are not named. */
  readonly defaultEndpoint?: WindowLimit | undefined
  /** Of every account on its own. */
  readonly accounts?: Readonly<Partial<Record<Played, BucketLimit>>> | undefined
  /** Requests a day of every account, after which the platform says that the quota is spent until its midnight. */
  readonly dailyQuota?: Readonly<Partial<Record<'youtube' | 'tiktok', number>>> | undefined
}

const MINUTE_MS = 60_000

/** The numbers that millrace has by default, so that a default daemon and a default simulator agree. */
export const DEFAULT_LIMITS: SimulatorLimits = {
  global: { rate: 15, burst: 1000 },
  platforms: {
    instagram: { rate: 3, burst: 200 },
    youtube: { rate: 2.5, burst: 150 },
    tiktok: { rate: 1.5, burst: 100 },
  },
  endpoints: {
    'instagram/user_profile': { limit: 30, windowMs: MINUTE_MS },
    'instagram/user_media': { limit: 20, windowMs: MINUTE_MS },
    'instagram/media_details': { limit: 60, windowMs: MINUTE_MS },
    'youtube/channel': { limit: 100, windowMs: MINUTE_MS },
    'youtube/videos': { limit: 50, windowMs: MINUTE_MS },
    'tiktok/user_info': { limit: 25, windowMs: MINUTE_MS },
  },
  defaultEndpoint: { limit: 60, windowMs: MINUTE_MS },
}

/** No limit at all: for benchmarks of what calls it. */
export const OPEN_LIMITS: SimulatorLimits = { platforms: {}, endpoints: {} }

/** What the simulator accepts as credentials; the same shape as `platforms.<name>.credentials`. */
export interface SimulatorCredentials {
  readonly youtube: { readonly key: string }
  readonly instagram: { readonly access_token: string; readonly ig_user_id: string }
  readonly tiktok: { readonly client_key: string; readonly client_secret: string }
}

/** Not secrets: whoever runs a simulator may know them. */
export const DEFAULT_CREDENTIALS: SimulatorCredentials = {
  youtube: { key: 'simulator-youtube-key' },
  instagram: { access_token: 'simulator-instagram-token', ig_user_id: '17841400000000001' },
  tiktok: { client_key: 'simulator-tiktok-key', client_secret: 'simulator-tiktok-secret' },
}

export interface SimulatorOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Creators of each platform, 1 to 1,000,000. */
  readonly creators: number
  /** Decides everything that is invented. A whole number. */
  readonly seed: number
  /** Time until the reply starts; to it comes an exponentially distributed `jitterMs` (its mean), at most ten times that. */
  readonly latencyMs: number
  readonly jitterMs: number
  /** Share of calls answered with a 5xx of the platform, 0 to 1. */
  readonly errorRate: number
  /** Share of calls answered "slow down" although they were within the limits. */
  readonly throttleRate: number
  /** Share of calls with a broken reply: HTML, JSON cut short, an error body with status 200, nothing, a torn connection. */
  readonly brokenShare: number
  /** Shares of creators. */
  readonly missingShare: number
  readonly privateShare: number
  /** Share of pictures that many creators have in common, byte for byte. */
  readonly stockShare: number
  /** Share of creators who lose most of their followers on the second day, in scaled time. */
  readonly dropShare: number
  /** How much faster numbers grow than the clock runs: 1440 is a day a minute. */
  readonly timeScale: number
  /** Unix ms from which time is scaled; before it, it runs as usual. Default: when the simulator is created. */
  readonly epochMs: number
  readonly limits: SimulatorLimits
  /** Of the first account of each platform. */
  readonly credentials: SimulatorCredentials
  /** Accounts of each platform, each with credentials and a quota of its own, 1 to 100. */
  readonly accounts: number
  /** Life of a TikTok token, seconds. */
  readonly tokenLifeS: number
  /** Whether TikTok's replies say in `RateLimit` and `RateLimit-Policy` how much of the endpoint's window is left. */
  readonly rateHeaders: boolean
  /** The clock of arrivals, in ms, never going back. Default: performance.now. */
  readonly clock: () => number
  /** Unix ms; what growth follows. Default: Date.now. */
  readonly wallClock: () => number
}

export const CREATORS_MAX = 1_000_000
/** The machine's own clock of arrivals. */
export const MONOTONIC = () => performance.now()

/** Fills in what was left out. Throws a RangeError that names the option that is out of its range. */
export function completeOptions(options: Partial<SimulatorOptions>): SimulatorOptions {
  const wallClock = options.wallClock ?? Date.now
  const complete: SimulatorOptions = {
    host: '127.0.0.1',
    port: 0,
    creators: 1000,
    seed: 1,
    latencyMs: 40,
    jitterMs: 20,
    errorRate: 0,
    throttleRate: 0,
    brokenShare: 0,
    missingShare: 0.01,
    privateShare: 0.01,
    stockShare: 0.1,
    dropShare: 0.01,
    timeScale: 1,
    epochMs: wallClock(),
    limits: DEFAULT_LIMITS,
    credentials: DEFAULT_CREDENTIALS,
    accounts: 1,
    tokenLifeS: 7200,
    rateHeaders: false,
    clock: MONOTONIC,
    wallClock,
    ...options,
  }
  const inRange = (name: keyof SimulatorOptions, min: number, max: number, whole = false) => {
    const value = complete[name]
    const fits =
      typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))
    if (!fits) {
      throw new RangeError(
        `${name}=${String(value)}: expected ${whole ? 'a whole number' : 'a number'}, ${min} to ${max}`,
      )
    }
  }
  inRange('port', 0, 65_535, true)
  inRange('creators', 1, CREATORS_MAX, true)
  inRange('seed', 0, 0xffff_ffff, true)
  inRange('accounts', 1, 100, true)
  inRange('latencyMs', 0, 600_000)
  inRange('jitterMs', 0, 60_000)
  inRange('timeScale', 0, 1_000_000)
  for (const share of [
    'errorRate',
    'throttleRate',
    'brokenShare',
    'missingShare',
    'privateShare',
    'stockShare',
    'dropShare',
  ] as const) {
    inRange(share, 0, 1)
  }
  return Object.freeze(complete)
}
