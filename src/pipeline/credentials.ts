import type { Credential, TokenShelf } from '../job/credential.ts'
import { AttemptError } from '../job/errors.ts'
import type { LevelState, Limiter } from '../job/permit.ts'
import type { Authorisation } from '../job/platform.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Secrets } from '../telemetry/secrets.ts'
import { Authoriser } from './authoriser.ts'
import { type CredentialChoice, isOwnLevel, type Share } from './credential-choice.ts'
import type { Errand } from './errand.ts'

export interface CredentialsOptions {
  readonly platform: string
  /** Empty: there are none, and nothing can be called. */
  readonly given: readonly Credential[]
  /** Asks the adapter; may call the platform, with this very credential. */
  readonly authorise: (credential: Credential, errand: Errand) => Promise<Authorisation>
  readonly shelfOf: ((credential: Credential) => TokenShelf) | undefined
}

export interface CredentialsPorts {
  /** Told of every token. */
  readonly secrets: Secrets
  readonly limiter: Pick<Limiter, 'levels'>
  readonly metrics: Metrics
  readonly log: Log
}

export interface CredentialState {
  readonly name: string
  /** The platform's last word about it was a refusal. */
  readonly refused: boolean
  /** Not used meanwhile, since there are others; tried again in `againInS` seconds. */
  readonly aside: boolean
  readonly againInS: number
  /** Its own limits, or the platform's word about it, hold it back for so many seconds. */
  readonly heldBackForS: number
}

interface Entry {
  readonly credential: Credential
  readonly authoriser: Authoriser
  /** Share of its tightest limit that is left, 0 to 1: the limiter's last word, less what it has granted here since. */
  room: number
  /** What one permit takes of it. */
  roomPerPermit: number
  /** Its own limits hold it back until then, on performance.now(). */
  heldBackUntilMs: number
  /** The platform's last word about it was a refusal. */
  isRefused: boolean
  /** Refused while others were not, so that nothing is sent with it; tried again at `againAtMs`. */
  isAside: boolean
  againAtMs: number
  asideMs: number
}

/** How long a refused credential is left alone, at first and at most: it doubles. */
const ASIDE_MS = { first: 60_000, most: 60 * 60_000 }
/** Of a token that does not end, or does not say when. */
const TOKEN_LIFE_MS = 24 * 60 * 60 * 1000
/** How long is gone on without a credential that could not be authorised. */
const UNAUTHORISED_MS = 10_000
/** Of one whose room is used up by our own count, which may be behind: the limiter knows. */
const ROOM_MIN = 0.001
/** How often the limiter is asked how much room each has. */
const ROOM_EVERY_MS = 1_000

/**
 * The credentials of one platform: each its own quota, the one with most room is used, and one that the platform refuses is set
 * aside, as long as there is another. With one credential there is nothing to choose, and it is never set aside: its refusals
 * end jobs, until the dead-letter breaker pauses the platform.
 */
export class Credentials implements CredentialChoice {
  readonly #platform: string
  readonly #ports: CredentialsPorts
  readonly #entries: readonly Entry[]
  readonly #byName: ReadonlyMap<string, Entry>
  #askedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: CredentialsOptions, ports: CredentialsPorts) {
    this.#platform = options.platform
    this.#ports = ports
    this.#entries = options.given.map((credential) => ({
      credential,
      authoriser: new Authoriser({
        renew: (errand) => options.authorise(credential, errand),
        shelf: options.shelfOf?.(credential),
        onHeld: (authorisation, leftMs) =>
          ports.secrets.addTokens(tokensOf(authorisation), Math.min(leftMs, TOKEN_LIFE_MS)),
      }),
      room: 1,
      roomPerPermit: 0,
      heldBackUntilMs: 0,
      isRefused: false,
      isAside: false,
      againAtMs: 0,
      asideMs: 0,
    }))
    this.#byName = new Map(this.#entries.map((entry) => [entry.credential.name, entry]))
    for (const { name } of options.given)
      ports.metrics.credential_refused.set({ platform: options.platform, credential: name }, 0)
  }

  /** False while there are none at all. */
  get any(): boolean {
    return this.#entries.length > 0
  }

  /** Whether there is a choice. */
  get several(): boolean {
    return this.#entries.length > 1
  }

  /** Names of those that the platform refuses. */
  get refused(): readonly string[] {
    return this.#entries.filter(({ isRefused }) => isRefused).map(({ credential }) => credential.name)
  }

  /** What the console shows of each: names and standing, never a value. */
  get states(): readonly CredentialState[] {
    const nowMs = performance.now()
    return this.#entries.map(({ credential, isRefused, isAside, againAtMs, heldBackUntilMs }) => ({
      name: credential.name,
      refused: isRefused,
      aside: isAside,
      againInS: isAside ? Math.max(0, Math.round((againAtMs - nowMs) / 1000)) : 0,
      heldBackForS: Math.max(0, Math.round((heldBackUntilMs - nowMs) / 1000)),
    }))
  }

  /**
   * Sees to it that a call can be authorised: undefined when nothing is to be waited for. One job at a time fetches what is
   * missing; the others go on with the credentials that are ready, if there are any. Rejects when none can be had.
   */
  prepare(errand: Errand): Promise<void> | undefined {
    return this.#entries.some(isMissing) ? this.#prepare(errand) : undefined
  }

  async #prepare(errand: Errand): Promise<void> {
    for (const entry of this.#entries.filter(isMissing)) {
      if (entry.authoriser.isRenewing && this.#isAnyReady) continue
      try {
        await entry.authoriser.current(errand)
      } catch (error) {
        if (!(error instanceof AttemptError)) throw error
        if (isRefusal(error) && this.refuse(entry.credential.name, error.message)) continue
        if (!this.#isAnyReady) throw error
        this.holdBack(entry.credential.name, performance.now() + (error.retryAfterMs ?? UNAUTHORISED_MS))
      }
    }
  }

  /**
   * Which credentials to ask for `count` permits with, and for how many each: of those that can be used each for as much of them as
   * it has of the room, so that a single one goes to the one with most. Empty while none can be used. Where nothing is authorised,
   * because whatever was had ended while calls waited, one call goes ahead and prepares.
   */
  share(count: number, nowMs: number): readonly Share[] {
    if (this.several) this.#askForRoom(nowMs)
    const usable = this.#entries.filter(
      ({ isAside, heldBackUntilMs }) => !isAside && heldBackUntilMs <= nowMs,
    )
    const ready = usable.filter(({ authoriser }) => authoriser.held !== undefined)
    const [first] = ready.length > 0 ? ready : usable
    if (first === undefined) return []
    if (ready.length === 0) return [{ name: first.credential.name, count: 1 }]
    if (ready.length === 1) return [{ name: first.credential.name, count }]
    ready.sort((one, other) => other.room - one.room)
    const roomOf = ({ room }: Entry) => Math.max(room, ROOM_MIN)
    let room = ready.reduce((sum, entry) => sum + roomOf(entry), 0)
    let left = count
    const shares: Share[] = []
    for (const entry of ready) {
      const part = Math.ceil((left * roomOf(entry)) / room)
      if (part > 0) shares.push({ name: entry.credential.name, count: part })
      left -= part
      room -= roomOf(entry)
    }
    return shares
  }

  get #isAnyReady(): boolean {
    return this.#entries.some(({ isAside, authoriser }) => !isAside && authoriser.held !== undefined)
  }

  /** From when on one can be used, on performance.now(). */
  get usableAtMs(): number {
    const good = this.#entries.filter(({ isAside }) => !isAside)
    return Math.min(...good.map(({ heldBackUntilMs }) => heldBackUntilMs))
  }

  granted(name: string, permits: number): void {
    const entry = this.#byName.get(name)
    if (entry !== undefined) entry.room -= permits * entry.roomPerPermit
  }

  /** Its own limits, or the platform's word about it, hold it back. */
  holdBack(name: string, untilMs: number): void {
    const entry = this.#byName.get(name)
    if (entry !== undefined) entry.heldBackUntilMs = Math.max(entry.heldBackUntilMs, untilMs)
  }

  authorisationOf(name: string): Authorisation | undefined {
    return this.#byName.get(name)?.authoriser.held
  }

  /** A token that was refused before its time; the next call fetches another one. */
  async forget(name: string, refused: Authorisation): Promise<void> {
    await this.#byName.get(name)?.authoriser.forget(refused)
  }

  /**
   * The platform refuses a credential. True when there is another to go on with; then this one is set aside.
   */
  refuse(name: string, why: string): boolean {
    const entry = this.#byName.get(name)
    if (entry === undefined) return false
    const { metrics, log } = this.#ports
    const others = this.#entries.some((other) => other !== entry && !other.isAside)
    if (!entry.isRefused) {
      const labels = { platform: this.#platform, credential: name }
      metrics.credential_refused.set(labels, 1)
      const follows = others ? 'it is set aside, the others are used' : 'there is no other'
      log.error({ ...labels, why }, `${this.#platform} refuses the credential ${name}: ${follows}`)
    }
    entry.isRefused = true
    if (!others) return false
    entry.isAside = true
    entry.asideMs = Math.min(ASIDE_MS.most, Math.max(ASIDE_MS.first, entry.asideMs * 2))
    entry.againAtMs = performance.now() + entry.asideMs
    return true
  }

  /** The platform has answered a call that was made with it. */
  accept(name: string): void {
    const entry = this.#byName.get(name)
    if (entry === undefined || !entry.isRefused) return
    entry.isRefused = false
    entry.isAside = false
    entry.asideMs = 0
    const labels = { platform: this.#platform, credential: name }
    this.#ports.metrics.credential_refused.set(labels, 0)
    this.#ports.log.info(labels, `${this.#platform} takes the credential ${name} again`)
  }

  /**
   * The name of one that was set aside long enough ago: the caller's call is to be made with it, and no other until it has been
   * answered, or as long again has passed.
   */
  async trial(errand: Errand): Promise<string | undefined> {
    const nowMs = performance.now()
    const due = this.#entries.find(({ isAside, againAtMs }) => isAside && againAtMs <= nowMs)
    if (due === undefined) return undefined
    const { name } = due.credential
    due.againAtMs = nowMs + due.asideMs
    try {
      await due.authoriser.current(errand)
      return name
    } catch (error) {
      if (!isRefusal(error)) throw error
      this.refuse(name, error.message)
      return undefined
    }
  }

  /** Whether `trial` has one. */
  get isTrialDue(): boolean {
    const nowMs = performance.now()
    return this.#entries.some(({ isAside, againAtMs }) => isAside && againAtMs <= nowMs)
  }

  /** Nobody waits for it: until it has answered the last word counts, less what was granted since. */
  #askForRoom(nowMs: number): void {
    if (nowMs - this.#askedAtMs < ROOM_EVERY_MS) return
    this.#askedAtMs = nowMs
    this.#ports.limiter.levels(this.#platform).then(
      (levels) => {
        for (const entry of this.#entries) learnRoom(entry, levels)
      },
      // The limiter is away: it says so itself, and grants nothing meanwhile.
      () => {},
    )
  }
}

/** Headers that are the same for everybody. */
const PLAIN_HEADER = /^(?:accept|content|user-agent)/i

/** What an authorisation adds to calls, without the scheme before it (`Bearer`). Ids of its path are no secret. */
function tokensOf({ headers = {}, query = {} }: Authorisation): string[] {
  const inHeaders = Object.entries(headers).filter(([name]) => !PLAIN_HEADER.test(name))
  return [...inHeaders.map(([, value]) => value.replace(/^[A-Za-z]+ +/, '')), ...Object.values(query)]
}

/** It is to be authorised before it can be used. */
function isMissing(entry: Entry): boolean {
  return !entry.isAside && entry.heldBackUntilMs <= performance.now() && !entry.authoriser.settled
}

function learnRoom(entry: Entry, levels: readonly LevelState[]): void {
  const own = levels.filter(({ level }) => isOwnLevel(level, entry.credential.name))
  entry.room = Math.min(1, ...own.map(({ remaining, capacity }) => remaining / capacity))
  entry.roomPerPermit = Math.max(0, ...own.map(({ capacity }) => 1 / capacity))
  for (const { blockedUntilMs } of own) {
    const leftMs = blockedUntilMs - Date.now()
    if (leftMs > 0) entry.heldBackUntilMs = Math.max(entry.heldBackUntilMs, performance.now() + leftMs)
  }
}

function isRefusal(error: unknown): error is AttemptError {
  return error instanceof AttemptError && error.reason === 'unauthorized'
}
