import type { Answer } from './answer.ts'
import type { AnswerKey } from './answer-key.ts'

/** A Map's own entry, its keys, the Answer with its tag. */
const OVERHEAD_BYTES = 400

/** Answers in this process, the least lately used of them given up when they take more than `bytesMax`. */
export class MemoryShelf {
  readonly #bytesMax: number
  readonly #answers = new Map<string, { readonly answer: Answer; readonly creator: string | undefined }>()
  readonly #ofCreator = new Map<string, Set<string>>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get(key: AnswerKey): Answer | undefined {
    const kept = this.#answers.get(key.id)
    if (kept === undefined) return undefined
    this.#answers.delete(key.id)
    this.#answers.set(key.id, kept)
    return kept.answer
  }

  put({ id, creator }: AnswerKey, answer: Answer): void {
    this.#remove(id)
    this.#answers.set(id, { answer, creator })
    // Twice: its compressed form may be kept beside it.
    this.#bytes += costOf(answer)
    if (creator !== undefined) {
      const ids = this.#ofCreator.get(creator) ?? new Set()
      this.#ofCreator.set(creator, ids.add(id))
    }
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= this.#bytesMax) break
      this.#remove(oldest)
    }
  }

  drop(creator: string): void {
    for (const id of this.#ofCreator.get(creator) ?? []) this.#remove(id)
  }

  #remove(id: string): void {
    const kept = this.#answers.get(id)
    if (kept === undefined) return
    this.#answers.delete(id)
    this.#bytes -= costOf(kept.answer)
    if (kept.creator === undefined) return
    const ids = this.#ofCreator.get(kept.creator)
    ids?.delete(id)
    if (ids?.size === 0) this.#ofCreator.delete(kept.creator)
  }
}

function costOf(answer: Answer): number {
  return answer.body.length * 2 + OVERHEAD_BYTES
}
