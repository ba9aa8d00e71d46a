import type { Ack, Grant, Permit, Want } from '../job/permit.ts'

interface Outstanding {
  readonly endpoint: string
  readonly credential: string | undefined
  readonly permits: number
  readonly forgottenAtMs: number
  /** Used up so far, and how many of them the limiter has confirmed that it knows of. */
  arrived: number
  confirmed: number
}

/** In one call; the rest goes with the next. */
const ACKS_MAX = 10_000

/**
 * What has become of the permits of each grant. An acknowledgement says how many have been used up in all, so one that got lost
 * is made good by the next, and nothing depends on their order.
 */
export class Arrivals {
  readonly #grants = new Map<string, Outstanding>()
  /** Grants that the limiter has to hear of. */
  readonly #due = new Set<string>()
  readonly #forgetAfterMs: number

  /** `forgetAfterMs`: after this long the limiter takes every permit for used, and needs to hear no more of it. */
  constructor(forgetAfterMs: number) {
    this.#forgetAfterMs = forgetAfterMs
  }

  get pending(): boolean {
    return this.#due.size > 0
  }

  granted(grant: Grant, want: Want, nowMs: number): void {
    // In the order in which they were granted, so the oldest is first.
    for (const [name, { forgottenAtMs }] of this.#grants) {
      if (forgottenAtMs > nowMs) break
      this.#forget(name)
    }
    this.#grants.set(grant.grant, {
      endpoint: want.endpoint,
      credential: want.credential,
      permits: grant.granted,
      forgottenAtMs: nowMs + this.#forgetAfterMs,
      arrived: 0,
      confirmed: 0,
    })
  }

  /** A permit's request has reached the upstream, or the permit will never be used. */
  arrived({ grant }: Pick<Permit, 'grant'>): void {
    const outstanding = this.#grants.get(grant)
    if (outstanding === undefined) return
    outstanding.arrived++
    this.#due.add(grant)
  }

  acks(): readonly Ack[] {
    const acks: Ack[] = []
    for (const grant of this.#due) {
      if (acks.length === ACKS_MAX) break
      const { endpoint, credential, arrived } = this.#grants.get(grant)!
      acks.push({ endpoint, credential, grant, arrived })
    }
    return acks
  }

  /** The limiter has taken these. */
  confirm(acks: readonly Ack[]): void {
    for (const { grant, arrived } of acks) {
      const outstanding = this.#grants.get(grant)
      if (outstanding === undefined) continue
      outstanding.confirmed = Math.max(outstanding.confirmed, arrived)
      if (outstanding.confirmed === outstanding.arrived) this.#due.delete(grant)
      if (outstanding.confirmed >= outstanding.permits) this.#forget(grant)
    }
  }

  #forget(grant: string): void {
    this.#grants.delete(grant)
    this.#due.delete(grant)
  }
}
