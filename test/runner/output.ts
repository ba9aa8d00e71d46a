import { spec, type TestEvent } from 'node:test/reporters'

/**
 * Shows the events of several files as node's spec reporter does, under a heading for each file, without mixing them: one
 * file is shown live, the others are kept until it has ended.
 */
export class Output {
  readonly #reporter = new spec()
  #ended = false
  /** In the order in which they were begun; the first one is live. */
  readonly #files: { name: string; kept: TestEvent[]; ended: boolean }[] = []

  constructor(out: NodeJS.WritableStream) {
    this.#reporter.pipe(out, { end: false })
  }

  begin(name: string): { show(event: TestEvent): void; end(): void } {
    const file = { name, kept: [] as TestEvent[], ended: false }
    this.#files.push(file)
    if (this.#files[0] === file) this.#head(name)
    return {
      show: (event) => {
        // A process that would not die may still speak when its run is over.
        if (this.#ended || file.ended) return
        if (this.#files[0] === file) this.#reporter.write(event)
        else file.kept.push(event)
      },
      end: () => {
        file.ended = true
        this.#advance()
      },
    }
  }

  /** A line of the run's own, between two files; nothing once the output has ended. */
  say(text: string): void {
    if (this.#ended) return
    this.#reporter.write({ type: 'test:stdout', data: { file: '', message: text } })
  }

  async end(): Promise<void> {
    this.#ended = true
    await new Promise<void>((resolve) => this.#reporter.once('end', resolve).end())
  }

  #advance(): void {
    while (this.#files[0]?.ended === true) {
      this.#files.shift()
      const next = this.#files[0]
      if (next === undefined) return
      this.#head(next.name)
      for (const event of next.kept.splice(0)) this.#reporter.write(event)
    }
  }

  #head(name: string): void {
    this.say(`\n${name}\n`)
  }
}
