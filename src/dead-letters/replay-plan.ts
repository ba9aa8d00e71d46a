import { HEADERS, originOf } from '../job/job.ts'
import type { DeadLetters } from './dead-letters.ts'
import { idText, jsonOf, type Letter, type LetterId, originText } from './letter.ts'
import { eachCandidate, isSelected, type Selection } from './selection.ts'

/** Why a letter that was selected is not sent. */
export type LeftOut = 'replayed' | 'cut' | 'expired' | 'no_topic' | 'older' | 'refused'

/** In the words of a sentence that begins with their number. */
export const LEFT_OUT_TEXT: Readonly<Record<LeftOut, string>> = {
  replayed: 'replayed before',
  cut: 'cut (only the beginning of the value is there)',
  expired: 'past the expires_at of the job',
  no_topic: 'without an original topic that jobs are taken from',
  older: 'older than another letter of the same job',
  refused: 'too large for the topic',
}

/** What a mark needs. */
interface Marked {
  readonly id: LetterId
  readonly atMs: number
}

/** One job that is to be sent back: by its newest letter; the older ones are marked with it. */
interface Planned {
  newest: Marked
  readonly older: Marked[]
  platform: string
  reason: string
  readonly topic: string
}

/**
 * What a replay would do. Of each job it holds where its letters stand, some hundred bytes, and nothing of what they say: they
 * are read a second time to be sent.
 */
export class ReplayPlan {
  readonly #jobs: Map<string, Planned>
  readonly leftOut: ReadonlyMap<LeftOut, number>
  /** Ids that were asked for and are not there. */
  readonly unknown: readonly LetterId[]

  constructor(
    jobs: Map<string, Planned>,
    leftOut: ReadonlyMap<LeftOut, number>,
    unknown: readonly LetterId[],
  ) {
    this.#jobs = jobs
    this.leftOut = leftOut
    this.unknown = unknown
  }

  /** Letters that are to be sent and have not been taken. */
  get size(): number {
    return this.#jobs.size
  }

  /** How many are to be sent, by topic. */
  byTopic(): Map<string, number> {
    return countedBy(this.#jobs.values(), ({ topic }) => topic)
  }

  /** How many are to be sent, by platform and reason, most first. */
  byReason(): { readonly platform: string; readonly reason: string; readonly count: number }[] {
    const counts = countedBy(this.#jobs.values(), ({ platform, reason }) =>
      JSON.stringify([platform, reason]),
    )
    return [...counts]
      .map(([key, count]) => {
        const [platform, reason] = JSON.parse(key) as [string, string]
        return { platform, reason, count }
      })
      .sort((a, b) => b.count - a.count)
  }

  /** Whether this letter is to be sent, and with which letters it is marked; once for each. */
  take({ id, record }: Letter): readonly Marked[] | undefined {
    const origin = originText(record)
    const planned = this.#jobs.get(origin)
    if (planned === undefined || idText(planned.newest.id) !== idText(id)) return undefined
    this.#jobs.delete(origin)
    return [planned.newest, ...planned.older]
  }
}

export interface PlanOptions {
  /** Topics that a letter may be sent back to: those that jobs are taken from. Headers come from producers too. */
  readonly topics: ReadonlySet<string>
  readonly nowMs: number
}

/** Reads the letters once and decides which are sent. */
export async function planReplay(
  letters: DeadLetters,
  selection: Selection,
  options: PlanOptions,
  signal: AbortSignal,
): Promise<ReplayPlan> {
  const replayed = await letters.replayed(signal)
  const jobs = new Map<string, Planned>()
  /** By origin: the newest letter that was replayed. A job that was sent back after a letter's time is not that letter's any more. */
  const done = new Map<string, Marked>()
  const leftOut = new Map<LeftOut, number>()
  const leave = (why: LeftOut, count = 1) => leftOut.set(why, (leftOut.get(why) ?? 0) + count)
  const unknown = new Map((selection.ids ?? []).map((id) => [idText(id), id]))
  await eachCandidate(
    letters,
    selection,
    (letter) => {
      unknown.delete(idText(letter.id))
      const origin = originText(letter.record)
      const marked = { id: letter.id, atMs: letter.atMs }
      const wasReplayed = replayed.has(letter)
      if (wasReplayed) done.set(origin, newestOf(marked, done.get(origin)))
      if (!isSelected(letter, selection)) return
      const why = wasReplayed ? 'replayed' : unsendable(letter, options)
      if (why === undefined) jobs.set(origin, plannedWith(jobs.get(origin), letter, marked))
      else leave(why)
    },
    signal,
  )
  for (const [origin, { newest, older }] of jobs) {
    const sent = done.get(origin)
    if (sent !== undefined && newestOf(newest, sent) === sent) {
      jobs.delete(origin)
      leave('replayed', 1 + older.length)
    } else if (older.length > 0) leave('older', older.length)
  }
  return new ReplayPlan(jobs, leftOut, [...unknown.values()])
}

function plannedWith(known: Planned | undefined, letter: Letter, marked: Marked): Planned {
  const { platform, reason, record } = letter
  if (known === undefined)
    return { newest: marked, older: [], platform, reason, topic: originOf(record).topic }
  if (newestOf(marked, known.newest) === marked) {
    known.older.push(known.newest)
    Object.assign(known, { newest: marked, platform, reason })
  } else known.older.push(marked)
  return known
}

/** Letters of one job have one key, so they stand in one partition and their offsets tell; else their times do. */
function newestOf(a: Marked, b: Marked | undefined): Marked {
  if (b === undefined) return a
  if (a.id.partition === b.id.partition) return a.id.offset >= b.id.offset ? a : b
  return a.atMs >= b.atMs ? a : b
}

function unsendable({ record }: Letter, { topics, nowMs }: PlanOptions): LeftOut | undefined {
  if (record.headers[HEADERS.cut] !== undefined) return 'cut'
  // A letter without sound original-* headers has its own place for an origin, and that is no topic of jobs.
  if (!topics.has(originOf(record).topic)) return 'no_topic'
  const json = jsonOf(record.value)
  const expires =
    typeof json === 'object' && json !== null ? (json as { expires_at?: unknown }).expires_at : undefined
  if (typeof expires === 'string' && Date.parse(expires) <= nowMs) return 'expired'
  return undefined
}

function countedBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1)
  return counts
}
