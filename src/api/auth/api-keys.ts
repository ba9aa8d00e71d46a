import { createHash } from 'node:crypto'
import { ApiProblem } from '../problem.ts'
import type { Role } from '../role.ts'
import type { Principal, Verifier } from './principal.ts'

const KEY_LENGTH_MAX = 512

/**
 * API keys, of which only SHA-256 is known. Keys are long and random, so a plain digest will do, and looking it up in a map
 * tells nobody by its time how much of a key was right.
 */
export class ApiKeys implements Verifier {
  readonly #byDigest: ReadonlyMap<string, Principal>

  /** `keys`: by name, with the digest in hex. */
  constructor(keys: Readonly<Record<string, { readonly sha256: string; readonly role: Role }>>) {
    this.#byDigest = new Map(
      Object.entries(keys).map(([name, { sha256, role }]) => [sha256, { name: `key:${name}`, role }]),
    )
  }

  async verify(key: string): Promise<Principal> {
    const found =
      key.length > KEY_LENGTH_MAX
        ? undefined
        : this.#byDigest.get(createHash('sha256').update(key).digest('hex'))
    if (found === undefined) throw new ApiProblem('unauthenticated', 'The API key is not known.')
    return found
  }
}
