import type { Member } from './membership.ts'
import type { LevelTerms, Question } from './question.ts'

/**
 * What all daemons together have been granted. Times are whole microseconds on the limiter's own clock (see `openCore`).
 * Records that are absent stand for "nothing granted since the epoch". Plain data; the deciders never change it in place.
 * The Redis twin keeps the same fields in one hash.
 */
export interface LimiterState {
  core?: CoreState | undefined
  /** By level name. */
  readonly levels: Map<string, LevelRecord>
  /** By platform: whose turn it is. */
  readonly turns: Map<string, Turn>
  /** What was granted to a request, by `platform:requestId`; a minute long, at most ANSWERS_MAX. */
  readonly answers: Map<string, Answered>
  /** By level name: daemons that it holds back, in the order in which they came. Says nothing of what was granted. */
  readonly queues: Map<string, readonly Waiting[]>
  /** Daemons that have a share to go on with; see membership. */
  members?: readonly Member[] | undefined
}

export interface CoreState {
  /** The store's own identity (Redis `run_id`); another one means that grants may be missing. */
  readonly runId: string
  /** When we last began without knowledge; 0: we never did. Buckets were empty and windows full at that time. */
  readonly epochUs: number
  /** The clock never goes back behind this. */
  readonly lastUs: number
  /** What has been added to the raw clock so far, because it was set back. */
  readonly offsetUs: number
}

/** What every level keeps. */
interface Standing {
  readonly epochUs: number
  readonly blockedUntilUs: number
  /** Thousandths of the limit that are in use since `factorAtUs`; it rises by itself (see adapt). */
  readonly factor: number
  readonly factorAtUs: number
  readonly recent: readonly Slot[]
}

export interface BucketRecord extends Standing {
  readonly kind: 'bucket'
  /** GCRA's theoretical arrival time. */
  readonly tatUs: number
}

export interface WindowRecord extends Standing {
  readonly kind: 'window'
  /** Units that have arrived by `timeUs`, ascending; they count until `timeUs + windowUs`. */
  readonly log: readonly Entry[]
  /** Grants that were not acknowledged, by the time at which they are taken to have arrived, ascending. */
  readonly pending: readonly PendingGrant[]
}

/** On the raw clock: a calendar is about the time that everybody's clocks show. */
export interface QuotaRecord extends Standing {
  readonly kind: 'quota'
  readonly endsUs: number
  readonly used: number
  /** Granted so close to the end that they may arrive in the next period. */
  readonly next: number
}

export type LevelRecord = BucketRecord | WindowRecord | QuotaRecord

export interface Entry {
  readonly timeUs: number
  readonly units: number
}

export interface PendingGrant {
  readonly grant: string
  readonly permits: number
  /** How many of them have arrived. */
  readonly arrived: number
  /** Units of one permit. */
  readonly charge: number
  readonly byUs: number
}

/** Units granted in the 10 s that begin at `index` × 10 s. */
export interface Slot {
  readonly index: number
  readonly units: number
}

/** The turn of a lane, and how many units it has had in it. */
export interface Turn {
  readonly cursor: string
  readonly served: number
}

export interface Answered {
  readonly atUs: number
  readonly granted: readonly number[]
}

/** A daemon that a level holds back: it is kept a place until `untilUs`, by when it should have asked again. */
export interface Waiting {
  readonly daemon: string
  /** Since when it has been granted nothing; the longest is first. */
  readonly sinceUs: number
  readonly untilUs: number
  /** What it asked for and did not get. */
  readonly units: number
  /** What one permit of it takes, at most. */
  readonly charge: number
  /** Permits that wait in it in all. */
  readonly permits: number
  /** Units that it has had while it waited, beyond the one that has had least. */
  readonly had: number
}

/** What a decision changes; empty when it changes nothing. */
export interface Changes {
  readonly core?: CoreState
  readonly levels: ReadonlyMap<string, LevelRecord>
  readonly turn?: Turn
  readonly answered?: Answered
  readonly queues: ReadonlyMap<string, readonly Waiting[]>
  readonly members?: readonly Member[]
}

const ANSWERS_MAX = 4096
/** A repeated call comes within seconds; after a minute a request is as good as new. */
export const REMEMBER_US = 60e6

export function emptyState(): LimiterState {
  return { levels: new Map(), turns: new Map(), answers: new Map(), queues: new Map() }
}

/** Puts what a decision changed into the state it was taken on. */
export function apply(state: LimiterState, question: Question, changes: Changes): void {
  const { core, levels, turn, answered, queues, members } = changes
  if (core !== undefined) state.core = core
  if (members !== undefined) state.members = members
  for (const [name, level] of levels) state.levels.set(name, level)
  for (const [name, queue] of queues) state.queues.set(name, queue)
  if (turn !== undefined) state.turns.set(question.platform, turn)
  if (answered !== undefined && question.op === 'decide') {
    for (const [id, { atUs }] of state.answers) {
      if (state.answers.size < ANSWERS_MAX && answered.atUs - atUs < REMEMBER_US) break
      state.answers.delete(id)
    }
    state.answers.set(answerKey(question.platform, question.id), answered)
  }
}

export function answerKey(platform: string, id: string): string {
  return `${platform}:${id}`
}

/** The state's clock and core as of now. */
export interface Opened {
  readonly core: CoreState
  readonly nowUs: number
  /** The store's clock as it is, for calendars. */
  readonly rawUs: number
  /** It has to be stored even when nothing is granted. */
  readonly changed: boolean
  /** This call found that nothing is known, and begins with empty buckets and full windows. */
  readonly cold: boolean
}

/**
 * Reads the clock: the raw one plus an offset that grows whenever the raw one is set back, so that our time neither goes back
 * (which would count expired grants again) nor stands still until the raw one has caught up. A step forward cannot be told
 * from time that passed. Finds out, too, whether the state can be relied on.
 */
export function openCore(
  core: CoreState | undefined,
  question: Question,
  rawUs: number,
  runId: string,
): Opened {
  let { epochUs, lastUs, offsetUs } = core ?? FRESH
  let nowUs = rawUs + offsetUs
  const back = nowUs < lastUs
  if (back) {
    offsetUs += lastUs - nowUs
    nowUs = lastUs
  }
  const known = core?.runId ?? ''
  const adopted = runId !== '' && runId !== known
  const cold = question.coldStart === 'empty' && (core === undefined || (adopted && known !== ''))
  if (cold) epochUs = nowUs
  const changed = core === undefined || back || adopted
  if (changed) lastUs = nowUs
  return { core: { runId: adopted ? runId : known, epochUs, lastUs, offsetUs }, nowUs, rawUs, changed, cold }
}

const FRESH = { epochUs: 0, lastUs: 0, offsetUs: 0 }

/**
 * A level's record without what has expired by now. One from before the epoch keeps its block, its factor and what a quota has
 * used. Beyond that it is taken to have been used to the full: a bucket is empty at the epoch, and a window is full until whatever
 * was granted before has surely arrived and left it.
 */
export function openLevel(known: LevelRecord | undefined, terms: LevelTerms, opened: Opened): LevelRecord {
  const { core, nowUs, rawUs } = opened
  const { epochUs } = core
  const current = known?.epochUs === epochUs ? known : undefined
  const { blockedUntilUs, factor, factorAtUs } = known ?? UNHINDERED
  const standing = { epochUs, blockedUntilUs, factor, factorAtUs, recent: current?.recent ?? [] }
  switch (terms.kind) {
    case 'bucket': {
      const full = epochUs > 0 ? epochUs + terms.toleranceUs : 0
      return { kind: 'bucket', ...standing, tatUs: current?.kind === 'bucket' ? current.tatUs : full }
    }
    case 'window': {
      const log = epochUs > 0 ? [{ timeUs: epochUs + terms.arriveUs, units: terms.limit }] : []
      const window = current?.kind === 'window' ? current : { log, pending: [] }
      const sinceUs = nowUs - terms.windowUs
      return {
        kind: 'window',
        ...standing,
        log: window.log.filter(({ timeUs }) => timeUs > sinceUs),
        pending: window.pending.filter(({ byUs }) => byUs > sinceUs),
      }
    }
    case 'quota':
      return {
        kind: 'quota',
        ...standing,
        ...period(known?.kind === 'quota' ? known : undefined, terms, rawUs),
      }
  }
}

const UNHINDERED = { blockedUntilUs: 0, factor: 1000, factorAtUs: 0 }

/** The quota's period as of now. What a daemon remembers of it counts as much as what is stored. */
function period(
  known: QuotaRecord | undefined,
  terms: Extract<LevelTerms, { kind: 'quota' }>,
  rawUs: number,
): { endsUs: number; used: number; next: number } {
  const { startsUs, seen } = terms
  let at = startsUs.findIndex((startUs) => startUs > rawUs)
  // A clock that is a whole period from the daemon's: whatever is said about its day would be wrong.
  if (at < 1) at = at === 0 ? 1 : startsUs.length - 1
  let endsUs = startsUs[at]!
  let used = 0
  let next = 0
  if (known !== undefined && known.endsUs >= endsUs) ({ endsUs, used, next } = known)
  else if (known !== undefined && known.endsUs === startsUs[at - 1]) used = known.next
  if (seen.endsUs === endsUs) used = Math.max(used, seen.used) + seen.owed
  return { endsUs, used, next }
}

const SLOT_US = 10e6
/** A minute and the slot that is under way. */
const SLOTS = 7

export function addRecent(recent: readonly Slot[], nowUs: number, units: number): readonly Slot[] {
  const index = Math.floor(nowUs / SLOT_US)
  const slots = recent.filter((slot) => slot.index > index - SLOTS)
  const last = slots.at(-1)
  if (last?.index === index) slots[slots.length - 1] = { index, units: last.units + units }
  else slots.push({ index, units })
  return slots
}

/** Units granted since the beginning of the slot a minute ago, and how long ago that is: 60 to 70 s. */
export function recentUnits(recent: readonly Slot[], nowUs: number): { granted: number; spanUs: number } {
  const first = Math.floor(nowUs / SLOT_US) - SLOTS + 1
  let granted = 0
  for (const { index, units } of recent) if (index >= first) granted += units
  return { granted, spanUs: nowUs - first * SLOT_US }
}
