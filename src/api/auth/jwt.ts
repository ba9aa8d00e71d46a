import { createHash } from 'node:crypto'
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { ApiProblem } from '../problem.ts'
import { isRole } from '../role.ts'
import type { Principal, Verifier } from './principal.ts'

export interface JwtOptions {
  /** For HS256. Exactly one of `secret` and `jwksUrl`. */
  readonly secret?: string | undefined
  /** Where the public keys are, for RS256, ES256 and EdDSA. */
  readonly jwksUrl?: string | undefined
  readonly issuer: string
  readonly audience: string
  readonly roleClaim: string
  readonly clockToleranceMs: number
  /** Unix ms. Default Date.now. */
  readonly now?: () => number
}

/** A longer one is not looked at. */
const TOKEN_LENGTH_MAX = 8_192
/** Tokens whose signature has been checked are not checked again until they expire, or this passes: keys may be withdrawn. */
const REMEMBERED_MS = 60_000
const REMEMBERED_MAX = 20_000

/**
 * JSON Web Tokens. Which algorithms are taken follows from what the configuration holds, never from the token: a secret takes
 * HS256 alone, public keys take RS256, ES256 and EdDSA alone. So a public key can never be used as a secret, and `none` is
 * nothing that we know. `exp`, `iss`, `aud`, `sub` and the role have to be there; `nbf` counts when it is.
 */
export class JwtVerifier implements Verifier {
  readonly #options: JwtOptions
  readonly #key: Uint8Array | JWTVerifyGetKey
  readonly #algorithms: string[]
  readonly #now: () => number
  readonly #remembered = new Map<string, { readonly principal: Principal; readonly untilMs: number }>()

  constructor(options: JwtOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    if (options.secret !== undefined) {
      this.#key = new TextEncoder().encode(options.secret)
      this.#algorithms = ['HS256']
    } else {
      this.#key = createRemoteJWKSet(new URL(options.jwksUrl ?? ''), { timeoutDuration: 5_000 })
      this.#algorithms = ['RS256', 'ES256', 'EdDSA', 'Ed25519']
    }
  }

  /** Rejects with ApiProblem: `unauthenticated`, or `unavailable` when the keys cannot be fetched. */
  async verify(token: string): Promise<Principal> {
    if (token.length > TOKEN_LENGTH_MAX) throw refused('it is too long')
    const digest = createHash('sha256').update(token).digest('base64')
    const known = this.#remembered.get(digest)
    if (known !== undefined && this.#now() < known.untilMs) return known.principal
    const payload = await this.#payload(token)
    const principal = this.#principal(payload)
    this.#remember(digest, principal, payload.exp ?? 0)
    return principal
  }

  async #payload(token: string): Promise<JWTPayload> {
    const { issuer, audience, clockToleranceMs, roleClaim } = this.#options
    const options = {
      algorithms: this.#algorithms,
      issuer,
      audience,
      clockTolerance: clockToleranceMs / 1000,
      requiredClaims: ['exp', 'sub', roleClaim],
      currentDate: new Date(this.#now()),
    }
    try {
      const { payload } =
        typeof this.#key === 'function'
          ? await jwtVerify(token, this.#key, options)
          : await jwtVerify(token, this.#key, options)
      return payload
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw refused('it has expired')
      if (error instanceof errors.JWTClaimValidationFailed)
        throw refused(`its ${error.claim} is not accepted`)
      const unreachable = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid
      const isOurs = error instanceof errors.JOSEError && error.constructor !== errors.JOSEError
      if (unreachable || (!isOurs && typeof this.#key === 'function' && !(error instanceof SyntaxError)))
        throw new ApiProblem('unavailable', 'The keys that tokens are checked with cannot be fetched.', {
          cause: error,
        })
      throw refused('its form or signature is not accepted')
    }
  }

  #principal(payload: JWTPayload): Principal {
    const { sub } = payload
    const role = payload[this.#options.roleClaim]
    if (typeof sub !== 'string' || sub === '' || sub.length > 200) throw refused('its sub is not accepted')
    if (!isRole(role)) throw refused(`its ${this.#options.roleClaim} is not accepted`)
    return { name: `jwt:${sub}`, role }
  }

  #remember(digest: string, principal: Principal, expS: number): void {
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear()
    const untilMs = Math.min(this.#now() + REMEMBERED_MS, expS * 1000)
    this.#remembered.set(digest, { principal, untilMs })
  }
}

function refused(why: string): ApiProblem {
  return new ApiProblem('unauthenticated', `The token is refused: ${why}.`)
}
