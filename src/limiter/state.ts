import type { BucketTerms, Question, WindowTerms } from './question.ts'

/**
 * What all daemons together have been granted. Times are whole microseconds on the limiter's own clock (see `openState`).
 * Records that are absent stand for "nothing granted since the epoch". Plain data; the deciders never change it in place.
 * The Redis twin keeps the same fields in one hash.
 */
export interface LimiterState {
  core?: CoreState | undefined
  readonly platforms: Map<string, PlatformState>
  /** By `platform/endpoint`. */
  readonly endpoints: Map<string, EndpointState>
  /** What was granted to a request that granted or acknowledged anything, by `platform:requestId`; a minute long, at most ANSWERS_MAX. */
  readonly answers: Map<string, Answered>
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
  /** GCRA's theoretical arrival time of the global bucket. */
  readonly tatUs: number
  readonly recent: readonly Slot[]
}

export interface PlatformState {
  readonly epochUs: number
  readonly tatUs: number
  readonly blockedUntilUs: number
  /** Whose turn it is among the endpoints, and how many units it has had in this turn. */
  readonly cursor: string
  readonly served: number
  readonly recent: readonly Slot[]
}

export interface EndpointState {
  readonly epochUs: number
  readonly blockedUntilUs: number
  /** Units that have arrived by `timeUs`, ascending; they count until `timeUs + windowUs`. */
  readonly log: readonly Entry[]
  /** Grants that were not acknowledged, by the time at which they are taken to have arrived, ascending. */
  readonly pending: readonly PendingGrant[]
  readonly recent: readonly Slot[]
}

export interface Entry {
  readonly timeUs: number
  readonly units: number
}

export interface PendingGrant {
  readonly grant: string
  readonly units: number
  readonly byUs: number
}

/** Units granted in the 10 s that begin at `index` × 10 s. */
export interface Slot {
  readonly index: number
  readonly units: number
}

export interface Answered {
  readonly atUs: number
  readonly granted: readonly number[]
}

/** What a decision changes; empty when it changes nothing. */
export interface Changes {
  readonly core?: CoreState
  readonly platform?: PlatformState
  readonly endpoints: ReadonlyMap<string, EndpointState>
  readonly answered?: Answered
}

export const NO_CHANGES: Changes = { endpoints: new Map() }

const ANSWERS_MAX = 4096
/** A repeated call comes within seconds; after a minute a request is as good as new. */
export const REMEMBER_US = 60e6

export function emptyState(): LimiterState {
  return { platforms: new Map(), endpoints: new Map(), answers: new Map() }
}

/** Puts what a decision changed into the state it was taken on. */
export function apply(state: LimiterState, question: Question, changes: Changes): void {
  const { core, platform, endpoints, answered } = changes
  if (core !== undefined) state.core = core
  if (platform !== undefined) state.platforms.set(question.platform, platform)
  for (const [name, endpoint] of endpoints) state.endpoints.set(name, endpoint)
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

export function endpointKey(platform: string, endpoint: string): string {
  return `${platform}/${endpoint}`
}

/** The state's clock and core as of now. `changed`: it has to be stored even when nothing is granted. */
export interface Opened {
  readonly core: CoreState
  readonly nowUs: number
  readonly changed: boolean
  /** This call found that nothing is known, and begins with empty buckets and full windows. */
  readonly cold: boolean
}

/**
 * Reads the clock: the raw one plus an offset that grows whenever the raw one is set back, so that our time neither goes back
 * (which would count expired grants again) nor stands still until the raw one has caught up. A step forward cannot be told
 * from time that passed. Finds out, too, whether the state can be relied on.
 */
export function openState(
  core: CoreState | undefined,
  question: Question,
  rawUs: number,
  runId: string,
): Opened {
  let { epochUs, lastUs, offsetUs, tatUs, recent } = core ?? FRESH
  let nowUs = rawUs + offsetUs
  const back = nowUs < lastUs
  if (back) {
    offsetUs += lastUs - nowUs
    nowUs = lastUs
  }
  const known = core?.runId ?? ''
  const adopted = runId !== '' && runId !== known
  const cold = question.coldStart === 'empty' && (core === undefined || (adopted && known !== ''))
  if (cold) {
    epochUs = nowUs
    tatUs = nowUs + question.global.toleranceUs
    recent = []
  }
  const changed = core === undefined || back || adopted
  if (changed) lastUs = nowUs
  return {
    core: { runId: adopted ? runId : known, epochUs, lastUs, offsetUs, tatUs, recent },
    nowUs,
    changed,
    cold,
  }
}

const FRESH = { epochUs: 0, lastUs: 0, offsetUs: 0, tatUs: 0, recent: [] as readonly Slot[] }

/** The platform's record; one from before the epoch keeps nothing but its block. */
export function platformOf(
  known: PlatformState | undefined,
  bucket: BucketTerms,
  epochUs: number,
): PlatformState {
  if (known?.epochUs === epochUs) return known
  return {
    epochUs,
    tatUs: epochUs > 0 ? epochUs + bucket.toleranceUs : 0,
    blockedUntilUs: known?.blockedUntilUs ?? 0,
    cursor: '',
    served: 0,
    recent: [],
  }
}

/**
 * The endpoint's record without what has expired by now. One from before the epoch keeps nothing but its block, and is full
 * until whatever was granted before the epoch has surely arrived and left the window.
 */
export function endpointOf(
  known: EndpointState | undefined,
  terms: WindowTerms,
  epochUs: number,
  nowUs: number,
): EndpointState {
  const { limit, windowUs, arriveUs } = terms
  const endpoint =
    known?.epochUs === epochUs
      ? known
      : {
          epochUs,
          blockedUntilUs: known?.blockedUntilUs ?? 0,
          log: epochUs > 0 ? [{ timeUs: epochUs + arriveUs, units: limit }] : [],
          pending: [],
          recent: [],
        }
  const sinceUs = nowUs - windowUs
  return {
    ...endpoint,
    log: endpoint.log.filter(({ timeUs }) => timeUs > sinceUs),
    pending: endpoint.pending.filter(({ byUs }) => byUs > sinceUs),
  }
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
