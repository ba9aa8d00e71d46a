import { randomUUID } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { Credential, Lent, TokenShelf } from '../job/credential.ts'
import { ServiceAwayError } from '../job/errors.ts'
import type { Authorisation } from '../job/platform.ts'
import { createClient, RedisLink, type RedisLinkOptions, type RedisUser } from '../redis/link.ts'
import type { Log } from '../telemetry/log.ts'
import { Seal } from './seal.ts'

const USER: RedisUser = { name: 'tokens', whileAway: 'every daemon fetches its own tokens', pipelines: false }

/** A claim of a daemon that died ends after this long; a living one keeps it while its call waits for a permit. */
const CLAIM_MS = 15_000
const KEEP_EVERY_MS = 5_000

/** Each touches one key, so that a cluster takes them. */
const DELETE_IF =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
const KEEP_IF =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"

/** The tokens of all platforms in Redis, sealed, each until it ends. */
export class RedisTokens {
  readonly #client: Redis | Cluster
  readonly #link: RedisLink
  readonly #prefix: string

  constructor(options: RedisLinkOptions, log: Log) {
    this.#client = createClient(options, USER)
    this.#link = new RedisLink(this.#client, options, USER, log)
    this.#prefix = options.keyPrefix
  }

  /** Rejects with ServiceAwayError when Redis does not answer in time. */
  start(): Promise<void> {
    return this.#link.start()
  }

  stop(): Promise<void> {
    return this.#link.stop()
  }

  shelfOf(platform: string, credential: Credential): TokenShelf {
    return new RedisShelf(this.#client, this.#link, this.#prefix, platform, credential)
  }
}

class RedisShelf implements TokenShelf {
  readonly #client: Redis | Cluster
  readonly #link: RedisLink
  readonly #seal: Seal
  readonly #key: string
  readonly #claimKey: string
  #claim: { readonly id: string; readonly keeper: NodeJS.Timeout } | undefined

  constructor(
    client: Redis | Cluster,
    link: RedisLink,
    prefix: string,
    platform: string,
    credential: Credential,
  ) {
    this.#client = client
    this.#link = link
    this.#seal = new Seal(platform, credential)
    this.#key = `${prefix}:token:${platform}:${this.#seal.fingerprint}`
    this.#claimKey = `${this.#key}:claim`
  }

  async find(): Promise<Lent | null> {
    // The time first: should the token be replaced in between, the new one only seems to end earlier.
    const leftMs = await this.#ask(() => this.#client.pttl(this.#key), -2)
    if (leftMs <= 0) return null
    const authorisation = this.#open(await this.#stored())
    return authorisation === null ? null : { authorisation, leftMs }
  }

  async claim(): Promise<boolean> {
    const id = randomUUID()
    const answer = await this.#ask(() => this.#client.set(this.#claimKey, id, 'PX', CLAIM_MS, 'NX'), 'OK')
    if (answer !== 'OK') return false
    const keep = () => void this.#ask(() => this.#client.eval(KEEP_IF, 1, this.#claimKey, id, CLAIM_MS), null)
    this.#claim = { id, keeper: setInterval(keep, KEEP_EVERY_MS).unref() }
    return true
  }

  async put({ authorisation, leftMs }: Lent): Promise<void> {
    const sealed = this.#seal.close(JSON.stringify(authorisation))
    await this.#ask(() => this.#client.set(this.#key, sealed, 'PX', Math.max(1, Math.floor(leftMs))), null)
  }

  async release(): Promise<void> {
    const claim = this.#claim
    if (claim === undefined) return
    this.#claim = undefined
    clearInterval(claim.keeper)
    await this.#ask(() => this.#client.eval(DELETE_IF, 1, this.#claimKey, claim.id), null)
  }

  async discard(refused: Authorisation): Promise<void> {
    const stored = await this.#stored()
    if (stored === null || JSON.stringify(this.#open(stored)) !== JSON.stringify(refused)) return
    await this.#ask(() => this.#client.eval(DELETE_IF, 1, this.#key, stored), null)
  }

  #stored(): Promise<Buffer | null> {
    return this.#ask(() => this.#client.getBuffer(this.#key), null)
  }

  #open(sealed: Buffer | null): Authorisation | null {
    const text = sealed === null ? null : this.#seal.open(sealed)
    return text === null ? null : (JSON.parse(text) as Authorisation)
  }

  /** `away`: the answer while Redis is away; the limiter tells of it, and a token may be fetched twice. */
  async #ask<T>(call: () => Promise<T>, away: T): Promise<T> {
    try {
      return await this.#link.run(call)
    } catch (error) {
      if (error instanceof ServiceAwayError) return away
      throw error
    }
  }
}
