import { fromDigits, hash32, toDigits, unit } from './hash.ts'
import { CREATORS_MAX, PLAYED, type Played } from './options.ts'

/** What a platform would say about a creator. */
export type Fate = 'public' | 'private' | 'missing'

const FIRST =
  'amber brisk calm daring eager fancy gentle happy ivory jolly keen lucky mellow nimble opal proud quiet royal sunny tidy urban vivid witty young'.split(
    ' ',
  )
const SECOND =
  'acorn badger comet daisy ember falcon garden harbor island jaguar kettle lagoon maple nectar otter pepper quartz raven salmon tulip umbra velvet willow zephyr'.split(
    ' ',
  )

/** Three base64url digits: more posts than anybody has. */
const POSTS_MASK = 0x3_ffff

/** Salts keep what is drawn from one seed apart. */
const SALT = { name: 11, fate: 12, channel: 13, video: 14, post: 15 } as const

export interface PopulationOptions {
  readonly seed: number
  /** Creators of each platform. */
  readonly count: number
  readonly missingShare: number
  readonly privateShare: number
}

/**
 * The creators of a seed. Nothing is stored: an id holds its creator's number, and is checked by computing it again, so a million
 * creators cost nothing.
 */
export class Population {
  readonly #options: PopulationOptions

  constructor(options: PopulationOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#options.count
  }

  /** The handle of creator `index`, without `@`: lower-case letters, `_`, and the number in base 36 at the end. */
  handle(platform: Played, index: number): string {
    const draw = hash32(this.#options.seed, PLAYED.indexOf(platform), index, SALT.name)
    const first = FIRST[draw % FIRST.length]!
    const second = SECOND[(draw >>> 8) % SECOND.length]!
    return `${first}_${second}_${index.toString(36)}`
  }

  /** A YouTube channel id: `UC` and 22 characters. */
  channelId(index: number): string {
    const { seed } = this.#options
    const mask = hash32(seed, SALT.channel)
    const tail = [1, 2, 3, 4].map((part) => toDigits(hash32(seed, index, SALT.channel, part), 5)).join('')
    return `UC${toDigits((index ^ mask) & 0xff_ffff, 4)}${tail.slice(0, 18)}`
  }

  /** The number of the creator with that handle (without `@`) or channel id; undefined when there never was one. */
  indexOf(platform: Played, id: string): number | undefined {
    if (platform === 'youtube' && id.startsWith('UC') && id.length === 24) {
      const index = (fromDigits(id.slice(2, 6)) ^ hash32(this.#options.seed, SALT.channel)) & 0xff_ffff
      return index < CREATORS_MAX && this.channelId(index) === id ? index : undefined
    }
    const index = Number.parseInt(id.slice(id.lastIndexOf('_') + 1), 36)
    return index >= 0 && index < CREATORS_MAX && this.handle(platform, index) === id ? index : undefined
  }

  fate(platform: Played, index: number): Fate {
    const { seed, count, missingShare, privateShare } = this.#options
    if (index >= count) return 'missing'
    const draw = unit(seed, PLAYED.indexOf(platform), index, SALT.fate)
    if (draw < missingShare) return 'missing'
    return draw < missingShare + privateShare ? 'private' : 'public'
  }

  /** The number of a creator that can be seen, or undefined. */
  find(platform: Played, id: string): { index: number; fate: Exclude<Fate, 'missing'> } | undefined {
    const index = this.indexOf(platform, id)
    if (index === undefined) return undefined
    const fate = this.fate(platform, index)
    return fate === 'missing' ? undefined : { index, fate }
  }

  /** An id of 11 characters for post `n` of a creator: a video id, or the code in a post's address. */
  postCode(platform: Played, index: number, n: number): string {
    const check = hash32(this.#options.seed, PLAYED.indexOf(platform), index, n, SALT.video) & 0xff_ffff
    return toDigits(check, 4) + toDigits(index ^ check, 4) + toDigits((n ^ check) & POSTS_MASK, 3)
  }

  /** The post of a code; undefined when there never was one. */
  postOf(platform: Played, code: string): { index: number; n: number } | undefined {
    if (code.length !== 11) return undefined
    const check = fromDigits(code.slice(0, 4))
    const index = fromDigits(code.slice(4, 8)) ^ check
    const n = (fromDigits(code.slice(8)) ^ check) & POSTS_MASK
    return this.postCode(platform, index, n) === code ? { index, n } : undefined
  }

  /** The id of an Instagram post: 18 digits. */
  mediaId(index: number, n: number): string {
    const check = hash32(this.#options.seed, index, n, SALT.post) % 100
    return `179${pad(index, 7)}${pad(n, 6)}${pad(check, 2)}`
  }

  mediaOf(id: string): { index: number; n: number } | undefined {
    if (!/^179\d{15}$/.test(id)) return undefined
    const index = Number(id.slice(3, 10))
    const n = Number(id.slice(10, 16))
    return this.mediaId(index, n) === id ? { index, n } : undefined
  }
}

function pad(value: number, length: number): string {
  return String(value).padStart(length, '0')
}

export interface CreatorIdsOptions {
  /** Which creators; default `public`. */
  readonly fate?: Fate
  /** Handles on YouTube too: jobs for them make a call each, where those for channel ids share calls. Default false. */
  readonly handles?: boolean
  /** What the simulator was started with; defaults are its defaults. */
  readonly creators?: number
  readonly missingShare?: number
  readonly privateShare?: number
}

/**
 * The first `count` creator ids of a simulator with that seed, for jobs: channel ids on YouTube, usernames elsewhere. Fewer when
 * there are not as many of that fate. Ids of missing creators look like the others.
 */
export function creatorIds(
  platform: Played,
  seed: number,
  count: number,
  options: CreatorIdsOptions = {},
): string[] {
  const {
    fate = 'public',
    handles = false,
    creators = CREATORS_MAX,
    missingShare = 0.01,
    privateShare = 0.01,
  } = options
  const population = new Population({ seed, count: creators, missingShare, privateShare })
  const ids: string[] = []
  // Behind the last creator there are only missing ones.
  for (let index = 0; ids.length < count && index < CREATORS_MAX; index += 1) {
    if (population.fate(platform, index) !== fate) continue
    const handle = population.handle(platform, index)
    if (platform !== 'youtube') ids.push(handle)
    else ids.push(handles ? `@${handle}` : population.channelId(index))
  }
  return ids
}
