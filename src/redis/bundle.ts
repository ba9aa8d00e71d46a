interface Asked<Question, Answer> {
  readonly question: Question
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/** So many questions in one call: Redis does nothing else while it answers one. */
const QUESTIONS_MAX = 200

/**
 * Puts what is asked in one turn of the event loop into one call, and hands out its answers. To the client library a call costs far
 * more than a key in it.
 */
export class Bundle<Question, Answer> {
  readonly #call: (questions: readonly Question[]) => Promise<readonly Answer[]>
  #asked: Asked<Question, Answer>[] = []

  /** `call` answers in the order of the questions; when it rejects, all who asked are told so. */
  constructor(call: (questions: readonly Question[]) => Promise<readonly Answer[]>) {
    this.#call = call
  }

  ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#asked.push({ question, resolve, reject }) === 1) setImmediate(() => this.#send())
    })
  }

  #send(): void {
    const asked = this.#asked
    this.#asked = []
    for (let from = 0; from < asked.length; from += QUESTIONS_MAX)
      void this.#answer(asked.slice(from, from + QUESTIONS_MAX))
  }

  async #answer(asked: readonly Asked<Question, Answer>[]): Promise<void> {
    try {
      const answers = await this.#call(asked.map(({ question }) => question))
      for (const [index, { resolve }] of asked.entries()) resolve(answers[index]!)
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }
}
