import { messageOf } from '../job/errors.ts'
import type { Reason } from '../job/reason.ts'
import type { Publisher } from '../job/record.ts'
import type { Log } from '../telemetry/log.ts'
import type { DeadLetters } from './dead-letters.ts'
import { type Replay, replay } from './replay.ts'
import { planReplay } from './replay-plan.ts'

export interface ReplayDeskOptions {
  /** Topics that a letter may be sent back to. */
  readonly topics: ReadonlySet<string>
  readonly marksTopic: string
  /** Where a letter goes, by its original topic. */
  readonly destinationOf: (originalTopic: string) => string
}

export interface ReplayDeskPorts {
  /** Those that stand there now. */
  readonly open: () => Promise<DeadLetters>
  readonly publisher: Publisher
  readonly log: Log
}

/** How far the last replay that was asked for here has come. */
export interface ReplayState {
  readonly reason: Reason
  readonly state: 'reading' | 'sending' | 'done' | 'failed'
  /** Letters that are to be sent; null while they are read. */
  readonly planned: number | null
  readonly sent: number
  /** Letters of the reason that are not sent: sent before, cut, expired, older than another of the same job. */
  readonly leftOut: number
  /** Why it failed, in one sentence; else empty. */
  readonly problem: string
}

/** Sends the dead letters of one reason back, one replay at a time, while the daemon runs; as `millrace dlq replay` does. */
export class ReplayDesk {
  readonly #options: ReplayDeskOptions
  readonly #ports: ReplayDeskPorts
  readonly #stopping = new AbortController()
  #last: { state: Omit<ReplayState, 'sent'>; progress: Replay } | undefined
  #running: Promise<void> | undefined

  constructor(options: ReplayDeskOptions, ports: ReplayDeskPorts) {
    this.#options = options
    this.#ports = ports
  }

  start(): void {}

  /** The batch that is under way is finished and remembered. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the daemon is stopping'))
    await this.#running
  }

  /** Null while none has been asked for. */
  get state(): ReplayState | null {
    if (this.#last === undefined) return null
    const { state, progress } = this.#last
    return {
      ...state,
      sent: [...progress.sent.values()].reduce((sum, count) => sum + count, 0),
      leftOut: state.leftOut + progress.refused,
    }
  }

  /** False when one is under way. */
  begin(reason: Reason): boolean {
    if (this.#running !== undefined || this.#stopping.signal.aborted) return false
    this.#running = this.#run(reason).finally(() => {
      this.#running = undefined
    })
    return true
  }

  async #run(reason: Reason): Promise<void> {
    const { open, publisher, log } = this.#ports
    const { topics, marksTopic, destinationOf } = this.#options
    const { signal } = this.#stopping
    const progress: Replay = { sent: new Map(), refused: 0, uncertain: 0 }
    const tell = (state: Partial<ReplayState>) => {
      const before = this.#last?.progress === progress ? this.#last.state : undefined
      const first = { reason, state: 'reading' as const, planned: null, leftOut: 0, problem: '' }
      this.#last = { state: { ...(before ?? first), ...state }, progress }
    }
    tell({})
    try {
      {
        await using letters = closing(await open())
        const selection = { reasons: [reason] }
        const plan = await planReplay(letters.of, selection, { topics, nowMs: Date.now() }, signal)
        const leftOut = [...plan.leftOut.values()].reduce((sum, count) => sum + count, 0)
        tell({ state: 'sending', planned: plan.size, leftOut })
        const options = { marksTopic, destinationOf, perSecond: undefined }
        await replay(plan, selection, { letters: letters.of, publisher }, options, progress, signal)
      }
      // Only now another one may begin.
      tell({ state: 'done' })
      log.info(
        { reason, planned: this.state?.planned, sent: this.state?.sent },
        'dead letters were sent back',
      )
    } catch (error) {
      tell({ state: 'failed', problem: messageOf(error, 300) })
      log.error({ err: error, reason }, 'dead letters could not be sent back')
    }
  }
}

function closing(of: DeadLetters) {
  return { of, [Symbol.asyncDispose]: () => of.close() }
}
