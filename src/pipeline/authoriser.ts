import { AttemptError } from '../job/errors.ts'
import type { Authorisation } from '../job/platform.ts'
import type { Errand } from './errand.ts'

/** Renewed when this share of its life is over, so that no call meets an expired token. */
const RENEW_AT = 0.9

/**
 * Keeps a platform's authorisation and renews it ahead of its end. However many calls ask, one renews; they share it, and
 * they share its failure.
 */
export class Authoriser {
  readonly #renew: (errand: Errand) => Promise<Authorisation>
  #held: { authorisation: Authorisation; renewAtMs: number } | undefined
  #renewal: { readonly by: Errand; readonly promise: Promise<Authorisation> } | undefined

  constructor(renew: (errand: Errand) => Promise<Authorisation>) {
    this.#renew = renew
  }

  /** The renewal is made on behalf of the first job that needs it: under its priority, and counted among its attempts. */
  async current(errand: Errand): Promise<Authorisation> {
    for (;;) {
      if (this.#held !== undefined && performance.now() < this.#held.renewAtMs)
        return this.#held.authorisation
      this.#renewal ??= { by: errand, promise: this.#run(errand) }
      const renewal = this.#renewal
      try {
        return await renewal.promise
      } catch (error) {
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

  async #run(errand: Errand): Promise<Authorisation> {
    try {
      const authorisation = await this.#renew(errand)
      const lifeMs = authorisation.expiresInMs ?? Number.POSITIVE_INFINITY
      this.#held = { authorisation, renewAtMs: performance.now() + lifeMs * RENEW_AT }
      return authorisation
    } finally {
      this.#renewal = undefined
    }
  }

  /** The platform refused this one. Whoever has renewed it meanwhile keeps the new one. */
  forget(refused: Authorisation): void {
    if (this.#held?.authorisation === refused) this.#held = undefined
  }
}
