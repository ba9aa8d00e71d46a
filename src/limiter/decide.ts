import { bucketUnits, bucketWait, taken } from './bucket.ts'
import type { BlockQuestion, DecideQuestion, LevelReading, LevelsQuestion, Verdict } from './question.ts'
import { compare, grantName } from './question.ts'
import {
  type Answered,
  addRecent,
  answerKey,
  type Changes,
  type EndpointState,
  endpointKey,
  endpointOf,
  type LimiterState,
  NO_CHANGES,
  type Opened,
  openState,
  type PlatformState,
  platformOf,
  REMEMBER_US,
  recentUnits,
} from './state.ts'
import { acknowledge, addEntry, addPending, grained, usedUnits, windowWait } from './window.ts'

export interface Decision {
  /** One for each want of the question, in its order. */
  readonly verdicts: readonly Verdict[]
  /** True when this call found nothing to rely on, and began with empty buckets and full windows. */
  readonly cold: boolean
  /** What `apply` has to put into the state. A denial without acknowledgements changes nothing. */
  readonly changes: Changes
}

/**
 * Decides one demand of one daemon on all levels at once: pure, the state is not changed. Its twin is decide.lua, and the two
 * agree in every bit; whoever changes one changes the other. `rawUs` is the wall clock in Unix microseconds.
 *
 * Every want gets `min(count, every level)`, the shared buckets being handed out in turns (see `handOut`). Acknowledgements
 * are taken first. What is left over by a want is told when it could be had at the earliest, if nobody else took it.
 *
 * A request id that granted or acknowledged something before does neither again: units of a grant are acknowledged by number,
 * and the same unit counted twice would free a slot whose request is still on its way.
 */
export function decide(state: LimiterState, question: DecideQuestion, rawUs: number, runId = ''): Decision {
  const opened = openState(state.core, question, rawUs, runId)
  const { core, nowUs, cold } = opened
  const platform = platformOf(state.platforms.get(question.platform), question.bucket, core.epochUs)
  const known = question.windows.map((terms) => {
    const name = endpointKey(question.platform, terms.endpoint)
    return endpointOf(state.endpoints.get(name), terms, core.epochUs, nowUs)
  })
  const before = state.answers.get(answerKey(question.platform, question.id))
  const answered = before !== undefined && nowUs - before.atUs < REMEMBER_US ? before : undefined
  const acked = question.windows.map((terms, window) => {
    const acks = answered === undefined ? question.acks.filter((ack) => ack.window === window) : []
    return acks.length === 0 ? known[window]! : acknowledged(known[window]!, acks, grained(nowUs, terms))
  })

  const free = {
    global: bucketUnits(core.tatUs, nowUs, question.global),
    platform: platform.blockedUntilUs > nowUs ? 0 : bucketUnits(platform.tatUs, nowUs, question.bucket),
    windows: acked.map(({ log, pending, blockedUntilUs }, window) =>
      blockedUntilUs > nowUs ? 0 : Math.max(0, question.windows[window]!.limit - usedUnits(log, pending)),
    ),
  }
  const turns =
    answered === undefined ? handOut(question, platform, free) : again(question, answered, nowUs, platform)
  const after = answered === undefined ? charge(question, opened, platform, acked, turns) : undefined
  const tats = after ?? { globalTatUs: core.tatUs, platform, endpoints: acked }

  const waits = question.wants.map(({ window, cost }, index) => {
    const endpoint = tats.endpoints[window]!
    const terms = question.windows[window]!
    if (turns.granted[index] === question.wants[index]!.count) return { waitUs: 0, level: 0 }
    return widest([
      bucketWait(tats.globalTatUs, nowUs, question.global, cost),
      Math.max(
        bucketWait(tats.platform.tatUs, nowUs, question.bucket, cost),
        platform.blockedUntilUs - nowUs,
      ),
      Math.max(
        windowWait(endpoint.log, endpoint.pending, terms, nowUs, cost),
        endpoint.blockedUntilUs - nowUs,
      ),
    ])
  })
  const verdicts = question.wants.map(({ window, count }, index): Verdict => {
    const granted = turns.granted[index]!
    // Held back although there was room: one that costs more is first in line, and has to be served first.
    const held = waits[index]!.waitUs === 0 && granted < count ? waits[turns.first] : undefined
    const { waitUs, level } = held ?? waits[index]!
    return { granted, waitUs, level, remaining: Math.min(free.global, free.platform, free.windows[window]!) }
  })

  const endpoints = new Map<string, EndpointState>()
  for (const [window, endpoint] of tats.endpoints.entries()) {
    if (endpoint !== known[window]) {
      endpoints.set(endpointKey(question.platform, question.windows[window]!.endpoint), endpoint)
    }
  }
  if (endpoints.size === 0 && !opened.changed) return { verdicts, cold, changes: NO_CHANGES }
  return {
    verdicts,
    cold,
    changes: {
      core: { ...(after?.core ?? core), lastUs: nowUs },
      ...(after !== undefined && turns.units > 0 ? { platform: after.platform } : {}),
      endpoints,
      ...(endpoints.size > 0 ? { answered: { atUs: nowUs, granted: turns.granted } } : {}),
    },
  }
}

interface Free {
  global: number
  platform: number
  readonly windows: number[]
}

interface Turns {
  /** Permits for each want. */
  readonly granted: readonly number[]
  readonly units: number
  /** The want that the shared buckets could not serve although it was its turn; −1: none. */
  readonly first: number
  readonly cursor: string
  readonly served: number
}

/**
 * Hands out what the shared buckets hold in turns, by deficit round-robin (Shreedhar and Varghese, 1995) with the highest cost
 * as quantum: max-min fair in units between endpoints. The turn and what was had in it are kept from call to call, for a call
 * may get less than one round. When the one whose turn it is needs more than the shared buckets hold, nobody behind it is
 * served either: otherwise cheap calls would drain the bucket for ever below what a dear one needs. Takes from `free`.
 */
function handOut(question: DecideQuestion, platform: PlatformState, free: Free): Turns {
  const { wants, windows } = question
  const granted = wants.map(() => 0)
  const endpointAt = (at: number) => windows[wants[at]!.window]!.endpoint
  let quantum = 1
  for (const { cost } of wants) quantum = Math.max(quantum, cost)
  let turn = wants.findIndex((_, at) => compare(endpointAt(at), platform.cursor) >= 0)
  if (turn < 0) turn = 0
  let served = wants.length > 0 && endpointAt(turn) === platform.cursor ? platform.served : 0
  if (served >= quantum) {
    // It has had its turn, by the smaller quantum of this demand.
    turn = (turn + 1) % wants.length
    served = 0
  }
  let units = 0
  let first = -1
  for (let idle = 0; idle < wants.length; ) {
    const { window, count, cost } = wants[turn]!
    const room = Math.min(count - granted[turn]!, Math.floor(free.windows[window]! / cost))
    const due = Math.min(room, Math.ceil((quantum - served) / cost))
    const permits = Math.min(due, Math.floor(Math.min(free.global, free.platform) / cost))
    if (permits > 0) {
      const charged = permits * cost
      granted[turn]! += permits
      free.global -= charged
      free.platform -= charged
      free.windows[window]! -= charged
      units += charged
      served += charged
      idle = 0
    }
    if (permits < due) {
      first = turn
      break
    }
    if (permits <= 0) idle++
    turn = (turn + 1) % wants.length
    served = 0
  }
  return { granted, units, first, cursor: wants.length > 0 ? endpointAt(turn) : '', served }
}

/** A repeated call gets what it got before, while that is young enough to be used; it was charged then. */
function again(question: DecideQuestion, answered: Answered, nowUs: number, platform: PlatformState): Turns {
  const young = nowUs - answered.atUs <= question.replayUs
  const granted = question.wants.map(({ count }, index) =>
    young ? Math.min(count, answered.granted[index] ?? 0) : 0,
  )
  return { granted, units: 0, first: -1, cursor: platform.cursor, served: platform.served }
}

/** Everything as it is after the grants of `turns`. */
function charge(
  question: DecideQuestion,
  opened: Opened,
  platform: PlatformState,
  endpoints: readonly EndpointState[],
  turns: Turns,
) {
  const { core, nowUs } = opened
  const { units, cursor, served } = turns
  const globalTatUs = taken(core.tatUs, nowUs, question.global, units)
  if (units === 0) return { core, globalTatUs, platform, endpoints }
  const charged = [...endpoints]
  for (const [index, { window, cost }] of question.wants.entries()) {
    const granted = turns.granted[index]!
    if (granted === 0) continue
    const endpoint = charged[window]!
    const terms = question.windows[window]!
    const log = [...endpoint.log]
    const pending = [...endpoint.pending]
    const byUs = nowUs + terms.arriveUs
    if (terms.causal)
      addPending(pending, { grant: grantName(question.id, index), units: granted * cost, byUs })
    else addEntry(log, grained(byUs, terms), granted * cost)
    charged[window] = { ...endpoint, log, pending, recent: addRecent(endpoint.recent, nowUs, granted * cost) }
  }
  return {
    core: { ...core, tatUs: globalTatUs, recent: addRecent(core.recent, nowUs, units) },
    globalTatUs,
    platform: {
      ...platform,
      tatUs: taken(platform.tatUs, nowUs, question.bucket, units),
      cursor,
      served,
      recent: addRecent(platform.recent, nowUs, units),
    },
    endpoints: charged,
  }
}

function acknowledged(
  endpoint: EndpointState,
  acks: readonly { readonly grant: string; readonly units: number }[],
  arrivedUs: number,
): EndpointState {
  const { log, pending, moved } = acknowledge(endpoint.log, endpoint.pending, acks, arrivedUs)
  return moved === 0 ? endpoint : { ...endpoint, log, pending }
}

/** The longest wait and its level; the widest level among equals. */
function widest(waits: readonly number[]): { waitUs: number; level: number } {
  let waitUs = 0
  let level = 0
  for (const [index, wait] of waits.entries()) {
    if (wait > waitUs) {
      waitUs = wait
      level = index + 1
    }
  }
  return { waitUs, level }
}

/** Blocks a platform or an endpoint from now, never for a shorter time than it is blocked already; or lifts its block. */
export function block(state: LimiterState, question: BlockQuestion, rawUs: number, runId = ''): Changes {
  const opened = openState(state.core, question, rawUs, runId)
  const core = { ...opened.core, lastUs: opened.nowUs }
  const { epochUs } = core
  const untilUs = (before: number) =>
    question.op === 'unblock' ? 0 : Math.max(before, opened.nowUs + question.durationUs)
  const [terms] = question.windows
  if (terms === undefined) {
    const platform = platformOf(state.platforms.get(question.platform), question.bucket, epochUs)
    const changed = { ...platform, blockedUntilUs: untilUs(platform.blockedUntilUs) }
    return { core, platform: changed, endpoints: new Map() }
  }
  const name = endpointKey(question.platform, terms.endpoint)
  const endpoint = endpointOf(state.endpoints.get(name), terms, epochUs, opened.nowUs)
  const changed = { ...endpoint, blockedUntilUs: untilUs(endpoint.blockedUntilUs) }
  return { core, endpoints: new Map([[name, changed]]) }
}

/** Reads every level: global, platform, then the question's windows in order. Changes nothing. */
export function levels(
  state: LimiterState,
  question: LevelsQuestion,
  rawUs: number,
  runId = '',
): LevelReading[] {
  const { core, nowUs } = openState(state.core, question, rawUs, runId)
  const reading = (
    remaining: number,
    blockedUntilUs: number,
    recent: EndpointState['recent'],
  ): LevelReading => ({
    remaining: blockedUntilUs > nowUs ? 0 : remaining,
    // On the wall clock, which may have been set back since.
    blockedUntilUs: blockedUntilUs > nowUs ? blockedUntilUs - core.offsetUs : 0,
    ...recentUnits(recent, nowUs),
  })
  const platform = platformOf(state.platforms.get(question.platform), question.bucket, core.epochUs)
  const windows = question.windows.map((terms) => {
    const known = state.endpoints.get(endpointKey(question.platform, terms.endpoint))
    const { log, pending, blockedUntilUs, recent } = endpointOf(known, terms, core.epochUs, nowUs)
    return reading(Math.max(0, terms.limit - usedUnits(log, pending)), blockedUntilUs, recent)
  })
  return [
    reading(bucketUnits(core.tatUs, nowUs, question.global), 0, core.recent),
    reading(bucketUnits(platform.tatUs, nowUs, question.bucket), platform.blockedUntilUs, platform.recent),
    ...windows,
  ]
}
