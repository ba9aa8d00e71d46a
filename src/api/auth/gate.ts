import type { IncomingHttpHeaders } from 'node:http'
import { ApiProblem } from '../problem.ts'
import type { Principal, Verifier } from './principal.ts'

export interface GateOptions {
  readonly jwt?: Verifier | undefined
  readonly keys?: Verifier | undefined
}

/** Finds out who asks: by `Authorization: Bearer`, or by `X-API-Key`; without either configured everybody is an admin. */
export class Gate {
  readonly #jwt: Verifier | undefined
  readonly #keys: Verifier | undefined

  constructor({ jwt, keys }: GateOptions) {
    this.#jwt = jwt
    this.#keys = keys
  }

  /** No proof is asked for: the server has to listen on loopback only. */
  get open(): boolean {
    return this.#jwt === undefined && this.#keys === undefined
  }

  /** Rejects with ApiProblem `unauthenticated`. Two proofs at once are refused: it would not be clear whose request it is. */
  async admit(headers: IncomingHttpHeaders, address: string): Promise<Principal> {
    if (this.open) return { name: `address:${address}`, role: 'admin' }
    const { authorization } = headers
    const key = headers['x-api-key']
    if (authorization !== undefined && key !== undefined)
      throw new ApiProblem('unauthenticated', 'Found both Authorization and X-API-Key; expected one of them.')
    if (typeof key === 'string') {
      if (this.#keys === undefined) throw new ApiProblem('unauthenticated', 'API keys are not taken here.')
      return await this.#keys.verify(key)
    }
    const token = /^Bearer ([\w.~+/=-]+)$/i.exec(authorization ?? '')?.[1]
    if (token === undefined || this.#jwt === undefined)
      throw new ApiProblem('unauthenticated', `Expected ${this.#expected}.`)
    return await this.#jwt.verify(token)
  }

  get #expected(): string {
    const ways = [
      ...(this.#jwt === undefined ? [] : ['`Authorization: Bearer <token>`']),
      ...(this.#keys === undefined ? [] : ['`X-API-Key: <key>`']),
    ]
    return ways.join(' or ')
  }
}
