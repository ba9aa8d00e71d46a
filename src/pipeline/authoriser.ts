import type { Lent, TokenShelf } from '../job/credential.ts'
import { AttemptError } from '../job/errors.ts'
import type { Authorisation } from '../job/platform.ts'
import { sleep } from '../lib/abort.ts'
import type { Errand } from './errand.ts'

/** Renewed when this share of its life is over, so that no call meets an expired token. */
const RENEW_AT = 0.9
/** Until a renewal ahead of the end that failed is tried again. */
const AGAIN_MS = 10_000
/** Until a daemon looks again whether another one has fetched the token. */
const LOOK_MS = 200

interface Held {
  readonly authorisation: Authorisation
  /** On performance.now(), like `endsAtMs`. */
  renewAtMs: number
  readonly endsAtMs: number
}

export interface AuthoriserOptions {
  /** Asks the adapter for the authorisation; may call the platform. */
  readonly renew: (errand: Errand) => Promise<Authorisation>
  /** Where daemons share what they fetched; undefined when they do not, or there is nothing to be fetched. */
  readonly shelf: TokenShelf | undefined
  /** Told of what is held from now on, and for how long, ms, before anything is sent with it. */
  readonly onHeld: (authorisation: Authorisation, leftMs: number) => void
}

/**
 * Keeps the authorisation of one credential and renews it ahead of its end. However many calls ask, one renews, and of several
 * daemons one; the others go on with what they have, or wait for the renewal, and share its failure.
 */
export class Authoriser {
  readonly #options: AuthoriserOptions
  #held: Held | undefined
  #renewal: { readonly by: Errand; readonly promise: Promise<Authorisation> } | undefined

  constructor(options: AuthoriserOptions) {
    this.#options = options
  }

  /** What calls may be made with now; undefined when there is nothing that still holds. */
  get held(): Authorisation | undefined {
    const held = this.#held
    return held !== undefined && performance.now() < held.endsAtMs ? held.authorisation : undefined
  }

  /** True when nobody has to do anything: what is held need not be renewed yet, or somebody is about it and it still holds. */
  get settled(): boolean {
    const held = this.#held
    if (held === undefined) return false
    const nowMs = performance.now()
    return nowMs < held.renewAtMs || (this.#renewal !== undefined && nowMs < held.endsAtMs)
  }

  /** True while somebody is about it. */
  get isRenewing(): boolean {
    return this.#renewal !== undefined
  }

  /** The renewal is made on behalf of the first job that needs it: under its priority, and counted among its attempts. */
  async current(errand: Errand): Promise<Authorisation> {
    for (;;) {
      if (this.settled) return this.#held!.authorisation
      this.#renewal ??= { by: errand, promise: this.#run(errand) }
      const renewal = this.#renewal
      try {
        return await renewal.promise
      } catch (error) {
        // What is held still does: a renewal ahead of the end is nobody's failure.
        if (this.#held !== undefined && this.held !== undefined && error instanceof AttemptError) {
          this.#held.renewAtMs = performance.now() + AGAIN_MS
          return this.#held.authorisation
        }
        if (renewal.by === errand) throw error
        // The one who renewed was told to stop, or ran out of time, not we: do it ourselves.
        if (!(error instanceof AttemptError) || error.reason === 'expired') {
          errand.signal.throwIfAborted()
          continue
        }
        // It failed for all of us, but what follows from that was decided by the attempts that the other one has behind it.
        throw error.cause instanceof AttemptError ? error.cause : error
      }
    }
  }

  /** The platform refused this one. Whoever has renewed it meanwhile keeps the new one. */
  async forget(refused: Authorisation): Promise<void> {
    if (this.#held?.authorisation === refused) this.#held = undefined
    await this.#options.shelf?.discard(refused)
  }

  async #run(errand: Errand): Promise<Authorisation> {
    try {
      return await this.#findOrFetch(errand)
    } finally {
      this.#renewal = undefined
    }
  }

  async #findOrFetch(errand: Errand): Promise<Authorisation> {
    const { shelf } = this.#options
    if (shelf === undefined) return this.#fetch(errand)
    for (;;) {
      const found = this.#fresh(await shelf.find())
      if (found !== undefined) return found
      if (await shelf.claim()) {
        try {
          // Whoever had the claim before may have left it because it was done.
          return this.#fresh(await shelf.find()) ?? (await this.#fetch(errand))
        } finally {
          await shelf.release()
        }
      }
      if (this.#held !== undefined && this.held !== undefined) {
        // Another daemon is about it: what we have will do until then.
        this.#held.renewAtMs = performance.now() + LOOK_MS
        return this.#held.authorisation
      }
      await sleep(LOOK_MS, errand.signal)
    }
  }

  async #fetch(errand: Errand): Promise<Authorisation> {
    const authorisation = await this.#options.renew(errand)
    const leftMs = authorisation.expiresInMs ?? Number.POSITIVE_INFINITY
    this.#hold({ authorisation, leftMs })
    if (leftMs !== Number.POSITIVE_INFINITY) await this.#options.shelf?.put({ authorisation, leftMs })
    return authorisation
  }

  /** Takes what was found, unless it is to be renewed itself. */
  #fresh(found: Lent | null): Authorisation | undefined {
    if (found === null) return undefined
    const lifeMs = found.authorisation.expiresInMs ?? Number.POSITIVE_INFINITY
    if (found.leftMs <= lifeMs * (1 - RENEW_AT)) return undefined
    this.#hold(found)
    return found.authorisation
  }

  #hold({ authorisation, leftMs }: Lent): void {
    this.#options.onHeld(authorisation, leftMs)
    const nowMs = performance.now()
    const lifeMs = authorisation.expiresInMs ?? Number.POSITIVE_INFINITY
    const renewInMs = lifeMs === Number.POSITIVE_INFINITY ? lifeMs : leftMs - lifeMs * (1 - RENEW_AT)
    this.#held = { authorisation, renewAtMs: nowMs + renewInMs, endsAtMs: nowMs + leftMs }
  }
}
