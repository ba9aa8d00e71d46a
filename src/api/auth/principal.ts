import type { Role } from '../role.ts'

/** Who asks. `name` tells clients apart where limits are counted: a token's subject, a key's name, or an address. */
export interface Principal {
  readonly name: string
  readonly role: Role
}

/** Checks one kind of proof. Rejects with ApiProblem `unauthenticated` when it is not good. */
export interface Verifier {
  verify(proof: string): Promise<Principal>
}
