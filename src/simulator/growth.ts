import { hash32, unit } from './hash.ts'
import { PLAYED, type Played } from './options.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** Where all histories are counted from. */
const ORIGIN_MS = Date.UTC(2026, 0, 1)
const POSTS_MAX = 200_000
const FOLLOWERS_MAX = 400_000_000

const SALT = {
  followers: 21,
  rate: 22,
  hot: 23,
  following: 24,
  posts: 25,
  interval: 26,
  engaged: 27,
  phase: 28,
  post: 29,
  purge: 30,
}

export interface CreatorState {
  readonly followers: number
  readonly following: number
  readonly posts: number
  readonly likes: number
  readonly views: number
}

export interface PostState {
  readonly n: number
  readonly publishedAtMs: number
  readonly likes: number
  readonly comments: number
  readonly shares: number
  readonly views: number
}

export interface GrowthOptions {
  readonly seed: number
  readonly timeScale: number
  /** Unix ms from which time is scaled. */
  readonly epochMs: number
  /** Share of creators who lose most of their followers, at some moment of the second day after `epochMs`. Default 0. */
  readonly dropShare?: number
}

/** What does not change about a creator. */
interface Traits {
  readonly platform: Played
  readonly index: number
  /** Followers at the origin. */
  readonly base: number
  /** Growth rate: while few follow, this share comes to it every day. */
  readonly perDay: number
  readonly phase: number
  readonly waveDays: number
  /** Likes for each follower. */
  readonly engagement: number
  /** Days between two posts. */
  readonly intervalDays: number
  /** Posts at the origin. */
  readonly first: number
  readonly following: number
  /** When the platform takes followers away as bought, in scaled time, and the share that stays. */
  readonly purgedAtMs: number
  readonly purgedTo: number
}

/**
 * The numbers of every creator at every moment: a function of seed, creator and time, nothing is kept. Each creator has a base
 * (log-uniform), a growth of its own (most between -0.02% and +0.2% a day, one in fifty up to 1.8%), a wave of some days on top, and posts at an interval of its own whose numbers rise in the first days.
 * Some lose most of their followers all at once.
 */
export class Growth {
  readonly #options: GrowthOptions
  /** The one asked about last: a page asks about one creator many times. */
  #last: Traits | undefined

  constructor(options: GrowthOptions) {
    this.#options = options
  }

  creator(platform: Played, index: number, atMs: number): CreatorState {
    const traits = this.#traits(platform, index)
    const scaled = this.#scaled(atMs)
    const followers = followersAt(traits, scaled)
    const posts = postsAt(traits, scaled)
    return {
      followers,
      following: traits.following,
      posts,
      likes: Math.floor(posts * followers * traits.engagement * 0.6),
      views: Math.floor(posts * followers * traits.engagement * 9),
    }
  }

  /** Post `n` (0 is the oldest), or undefined when it does not exist yet. */
  post(platform: Played, index: number, n: number, atMs: number): PostState | undefined {
    const traits = this.#traits(platform, index)
    const scaled = this.#scaled(atMs)
    if (n < 0 || n >= postsAt(traits, scaled)) return undefined
    const published = publishedAt(traits, n)
    const ageDays = Math.max(0, scaled - published) / DAY_MS
    const ripe = 1 - Math.exp(-ageDays / 1.5)
    const draw = hash32(this.#options.seed, PLAYED.indexOf(platform), index, SALT.post, n)
    // Four draws of a byte each are fine enough for a post.
    const [luck, comments, shares, views] = [draw & 255, (draw >>> 8) & 255, (draw >>> 16) & 255, draw >>> 24]
    const likes = Math.floor(followersAt(traits, published) * (0.3 + luck / 182) * traits.engagement * ripe)
    return {
      n,
      publishedAtMs: Math.floor(this.#unscaled(published) / 1000) * 1000,
      likes,
      comments: Math.floor(likes * (0.01 + comments / 6400)),
      shares: Math.floor((likes * shares) / 5100),
      views: Math.floor(likes * (8 + views / 21)),
    }
  }

  #traits(platform: Played, index: number): Traits {
    const last = this.#last
    if (last !== undefined && last.index === index && last.platform === platform) return last
    const unitOf = (salt: number) => unit(this.#options.seed, PLAYED.indexOf(platform), index, salt)
    const rate = unitOf(SALT.rate)
    const engaged = unitOf(SALT.engaged)
    const hot = unitOf(SALT.hot) < 0.02
    const { dropShare = 0, epochMs } = this.#options
    const purge = unitOf(SALT.purge)
    const traits: Traits = {
      platform,
      index,
      // 300 to 30,000,000, and small ones are as common as large ones on a logarithmic scale; who rises fast is small still.
      base: 300 * 10 ** ((hot ? 2.5 : 5) * unitOf(SALT.followers)),
      perDay: hot ? 0.006 + 0.012 * rate : -0.0002 + 0.0022 * rate ** 2,
      phase: 2 * Math.PI * unitOf(SALT.phase),
      waveDays: 2 + 5 * rate,
      // One in fifty looks bought: more than a fifth of the followers react.
      engagement: engaged < 0.02 ? 0.3 + 5 * engaged : 0.005 + 0.06 * engaged,
      intervalDays: 0.4 + 6 * unitOf(SALT.interval) ** 2,
      first: Math.floor(8 + 1500 * unitOf(SALT.posts) ** 3),
      following: Math.floor(20 + 2000 * unitOf(SALT.following) ** 2),
      // The draw that chooses the creator, stretched from 0 to 1, tells the rest.
      purgedAtMs: purge < dropShare ? epochMs + (1 + purge / dropShare) * DAY_MS : Number.POSITIVE_INFINITY,
      purgedTo: 0.05 + (0.35 * purge) / dropShare,
    }
    this.#last = traits
    return traits
  }

  #scaled(atMs: number): number {
    const { epochMs, timeScale } = this.#options
    return atMs <= epochMs ? atMs : epochMs + (atMs - epochMs) * timeScale
  }

  #unscaled(scaledMs: number): number {
    const { epochMs, timeScale } = this.#options
    return scaledMs <= epochMs || timeScale === 0 ? scaledMs : epochMs + (scaledMs - epochMs) / timeScale
  }
}

/** Logistic growth (Verhulst 1838): exponential at first, and never above what the platform has of people. */
function followersAt(traits: Traits, scaledMs: number): number {
  const days = (scaledMs - ORIGIN_MS) / DAY_MS
  const wave = 1 + 0.002 * Math.sin(traits.phase + (2 * Math.PI * days) / traits.waveDays)
  const grown = FOLLOWERS_MAX / (1 + (FOLLOWERS_MAX / traits.base - 1) * Math.exp(-traits.perDay * days))
  const kept = scaledMs < traits.purgedAtMs ? 1 : traits.purgedTo
  return Math.max(50, Math.floor(grown * wave * kept))
}

function postsAt(traits: Traits, scaledMs: number): number {
  const since = Math.floor((scaledMs - ORIGIN_MS) / DAY_MS / traits.intervalDays)
  return Math.min(POSTS_MAX, Math.max(0, traits.first + since))
}

/** In scaled time. Post number `first` - 1 is the one that appeared at the origin. */
function publishedAt(traits: Traits, n: number): number {
  return ORIGIN_MS + (n + 1 - traits.first) * traits.intervalDays * DAY_MS
}
