import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Begin, Begun, Figures, Name } from './contest.ts'
import type { Round } from './contestant.ts'

const CONTEST = fileURLToPath(new URL('contest.ts', import.meta.url))

/**
 * A contestant in a process of its own: neither its garbage nor what the compiler has learnt from its code falls on the others.
 */
export class ContestantProcess {
  readonly name: Name
  /** Of its admin port; empty when it has none. */
  readonly url: string
  readonly #child: ChildProcess

  private constructor(name: Name, url: string, child: ChildProcess) {
    this.name = name
    this.url = url
    this.#child = child
  }

  static async start(begin: Begin): Promise<ContestantProcess> {
    const child = fork(CONTEST, [JSON.stringify(begin)])
    const { url } = (await answerOf(child)) as Begun
    return new ContestantProcess(begin.name, url ?? '', child)
  }

  async round(round: Round): Promise<Figures> {
    this.#child.send(round)
    return (await answerOf(this.#child)) as Figures
  }

  async stop(): Promise<void> {
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }
}

/** The next message, or an error when it ends without one. */
async function answerOf(child: ChildProcess): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const onExit = (code: number | null) => reject(new Error(`a contestant ended with ${code}`))
  child.once('message', resolve).once('exit', onExit)
  return promise.finally(() => child.off('message', resolve).off('exit', onExit))
}
