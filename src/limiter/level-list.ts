import { MAIN_CREDENTIAL } from '../job/credential.ts'
import { MillraceError } from '../job/errors.ts'
import { chargeOf, type LimitPlan, levelsOf, type PlannedLevel } from './plan.ts'
import { NAME } from './plan-check.ts'
import type { LevelTerms } from './question.ts'
import { holdOf, type TermsBook } from './terms.ts'

/** The levels of one question, each once. */
export class LevelList {
  readonly terms: LevelTerms[] = []
  readonly #indices = new Map<string, number>()
  readonly #chains = new Map<string, { levels: number[]; planned: readonly PlannedLevel[] }>()
  readonly #plan: LimitPlan
  readonly #book: TermsBook
  readonly #note: (platform: string, endpoint: string, credential: string) => void

  constructor(
    plan: LimitPlan,
    book: TermsBook,
    note: (platform: string, endpoint: string, credential: string) => void,
  ) {
    this.#plan = plan
    this.#book = book
    this.#note = note
  }

  add(level: PlannedLevel): number {
    let index = this.#indices.get(level.name)
    if (index === undefined) {
      index = this.terms.length
      this.#indices.set(level.name, index)
      this.terms.push(this.#book.of(level))
    }
    return index
  }

  /** What a call passes, and takes. */
  charged(
    call: { platform: string; endpoint: string; credential?: string | undefined },
    cost: number,
    everywhere = false,
  ): { levels: number[]; charges: number[] } {
    const { levels, planned } = this.#chain(call)
    const charges = planned.map((level) => (everywhere ? cost : chargeOf(level, cost)))
    for (const [place, charge] of charges.entries()) {
      const most = holdOf(this.terms[levels[place]!]!)
      if (!Number.isInteger(charge) || charge < 1 || charge > most)
        throw refused(
          `${planned[place]!.name}: cost ${charge}; expected a whole number, 1 to ${most}, which it holds`,
        )
    }
    return { levels, charges }
  }

  /** The windows that wait for acknowledgements of a call. */
  causal(call: { platform: string; endpoint: string; credential?: string | undefined }): number[] {
    return this.#chain(call).levels.filter((index) => {
      const terms = this.terms[index]!
      return terms.kind === 'window' && terms.causal
    })
  }

  #chain(call: { platform: string; endpoint: string; credential?: string | undefined }) {
    const { platform, endpoint, credential } = call
    const lane = laneOf(endpoint, credential)
    let chain = this.#chains.get(lane)
    if (chain === undefined) {
      checkName(endpoint)
      if (credential !== undefined) checkName(credential)
      const planned = levelsOf(this.#plan, { platform, endpoint, credential })
      this.#note(platform, endpoint, credential ?? MAIN_CREDENTIAL)
      chain = { planned, levels: planned.map((level) => this.add(level)) }
      this.#chains.set(lane, chain)
    }
    return chain
  }
}

/** What calls of an endpoint under a credential are queued under. */
export function laneOf(endpoint: string, credential: string | undefined): string {
  return credential === undefined || credential === MAIN_CREDENTIAL ? endpoint : `${endpoint}@${credential}`
}

/** Throws MillraceError `LIMIT_DEMAND`. */
export function checkName(name: string): void {
  if (!NAME.test(name))
    throw refused(`the name "${name}"; expected 1–64 printable ASCII characters without / { } @`)
}

export function refused(what: string): MillraceError {
  return new MillraceError('LIMIT_DEMAND', `The limiter was asked for what it cannot decide: ${what}.`, {
    kind: 'usage',
  })
}
