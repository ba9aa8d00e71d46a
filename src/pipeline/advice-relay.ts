import { messageOf } from '../job/errors.ts'
import type { Advice, Limiter, LimitTarget } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'

interface Told {
  blockedUntilMs: number
  spentUntilMs: number
  rejectedAtMs: number
  /** The last word about how much is allowed, and when it was passed on. */
  allowance: string
  allowedAtMs: number
}

/** A block that is hardly longer than the last one is no news. */
const NEWS_MS = 250
/** The limiter takes the refusals of some seconds for one. */
const REJECTED_EVERY_MS = 1_000
/** What is said with every reply is passed on this often, so that the limiter does not take it for outdated. */
const ALLOWANCE_EVERY_MS = 5_000
/** A block of this length is told to whoever reads the log: work stands still, and nothing else says so. */
const TELLING_BLOCK_MS = 60_000
/** A header may say anything. */
const BLOCK_MS_MAX = 26 * 60 * 60 * 1000

/**
 * Passes on to the limiter what upstreams say about their limits, and thus to every daemon; but only what is news, for some say it
 * with every reply. One entry for each endpoint of each platform.
 */
export class AdviceRelay {
  readonly #limiter: Limiter
  readonly #log: Log
  readonly #now: () => number
  readonly #told = new Map<string, Told>()

  /** `now`: any milliseconds that never run backwards. */
  constructor(limiter: Limiter, log: Log, now: () => number = () => performance.now()) {
    this.#limiter = limiter
    this.#log = log
    this.#now = now
  }

  /** Resolves when the limiter knows, or cannot be told: it grants nothing then, and the upstream will say it again. */
  async tell(target: LimitTarget, advice: Advice): Promise<void> {
    const news = this.#newsIn(target, advice, this.#now())
    if (news === undefined) return
    try {
      await this.#limiter.learn(target, news)
    } catch (error) {
      this.#told.delete(keyOf(target))
      this.#log.warn(
        { ...target, error: messageOf(error) },
        'what the upstream said about its limits could not be shared',
      )
    }
  }

  /** Remembers what it returns, and says in the log when a long block begins. */
  #newsIn(target: LimitTarget, advice: Advice, nowMs: number): Advice | undefined {
    const key = keyOf(target)
    let told = this.#told.get(key)
    if (told === undefined) {
      const never = Number.NEGATIVE_INFINITY
      told = {
        blockedUntilMs: never,
        spentUntilMs: never,
        rejectedAtMs: never,
        allowance: '',
        allowedAtMs: never,
      }
      this.#told.set(key, told)
    }
    const blockMs = Math.min(advice.blockMs ?? 0, BLOCK_MS_MAX)
    const spentMs = Math.min(advice.spentMs ?? 0, BLOCK_MS_MAX)
    const blocks = blockMs > 0 && nowMs + blockMs > told.blockedUntilMs + NEWS_MS
    const spends = spentMs > 0 && nowMs + spentMs > told.spentUntilMs + NEWS_MS
    const rejected = advice.rejected === true && nowMs > told.rejectedAtMs + REJECTED_EVERY_MS
    const { share, policy } = advice
    const allowance = share === undefined && policy === undefined ? '' : JSON.stringify([share, policy])
    const allows =
      allowance !== '' && (allowance !== told.allowance || nowMs > told.allowedAtMs + ALLOWANCE_EVERY_MS)
    if (!blocks && !spends && !rejected && !allows) return undefined
    if (blocks) {
      if (blockMs >= TELLING_BLOCK_MS && nowMs > told.blockedUntilMs) {
        const until = new Date(Date.now() + blockMs).toISOString()
        this.#log.warn({ ...target, until }, `${key} asks to be left alone: its jobs wait until ${until}`)
      }
      told.blockedUntilMs = nowMs + blockMs
    }
    if (spends) told.spentUntilMs = nowMs + spentMs
    if (rejected) told.rejectedAtMs = nowMs
    if (allows) {
      told.allowance = allowance
      told.allowedAtMs = nowMs
    }
    return {
      ...(blocks ? { blockMs } : {}),
      ...(spends ? { spentMs } : {}),
      ...(rejected ? { rejected } : {}),
      ...(allows ? { share, policy } : {}),
    }
  }
}

function keyOf({ platform, endpoint, credential }: LimitTarget): string {
  if (credential !== undefined) return `${platform}, credential ${credential},`
  return endpoint === undefined ? platform : `${platform}/${endpoint}`
}
