import type { MembershipTerms } from './question.ts'

// Daemons that go on with a fixed share of the limits while Redis is away (see fixed-share) must not do so while others use the whole
// of them. So each one is known here, and whoever has not been heard of for the grace time is taken to use its share: the rest is
// left. It stops before the lease is over, after which it is forgotten. Whoever comes back counts as away until what it sent
// meanwhile has left every window.
//
// A store that stood still, or whose answers are lost, executes calls of a daemon that has given them up and may use its share by
// now. So each call says when the last one was executed whose answer was heard. Whoever says that this was half a grace time ago is
// taken for away too, for as long as its silence would take to be seen. So one and a half grace times after a daemon heard anything
// last, everybody leaves its share, whatever of its own is executed later; when what was granted before has left every window, one
// settling time after that, it begins to use it (`silenceMs`).

export interface Member {
  /** Empty: one that may be there, for all that a store knows that lost its data. */
  readonly daemon: string
  readonly seenUs: number
  readonly outUntilUs: number
}

export interface Presence {
  readonly members: readonly Member[]
  /** Thousandths of every limit that are left to those who are here. */
  readonly share: number
  /** False when there are more daemons than was said: this one has no share to go on with. */
  readonly isMember: boolean
}

/** Who is here, when `terms.daemon` has just been heard. `known` undefined: nothing is known of the others. */
export function presence(
  known: readonly Member[] | undefined,
  terms: MembershipTerms,
  nowUs: number,
): Presence {
  const { daemon, daemonsMax, graceUs, leaseUs, settleUs, heardUs, returned } = terms
  const unknown = { daemon: '', seenUs: nowUs - graceUs - 1, outUntilUs: 0 }
  const members = (known ?? Array<Member>(daemonsMax).fill(unknown)).filter(
    (member) => nowUs - member.seenUs <= leaseUs || member.outUntilUs > nowUs,
  )
  let place = members.findIndex((member) => member.daemon === daemon)
  const isDeaf = heardUs > 0 && Math.abs(nowUs - heardUs) > graceUs / 2
  const outUntilUs = returned || isDeaf ? nowUs + Math.max(settleUs, graceUs) : 0
  if (place < 0 && members.length < daemonsMax) place = members.length
  if (place < 0) place = members.findIndex((member) => member.daemon === '')
  if (place >= 0) {
    const before = members[place]
    const out = before?.daemon === daemon ? Math.max(outUntilUs, before.outUntilUs) : outUntilUs
    members[place] = { daemon, seenUs: nowUs, outUntilUs: out }
  }
  let away = 0
  for (const { seenUs, outUntilUs: out } of members) if (nowUs - seenUs > graceUs || out > nowUs) away++
  const share = Math.floor((1000 * Math.max(0, daemonsMax - away)) / daemonsMax)
  return { members, share, isMember: place >= 0 }
}

/** The members without one that has stopped; what it may have sent counts for as long as it would have. */
export function left(members: readonly Member[], daemon: string, nowUs: number): readonly Member[] {
  return members.filter((member) => member.daemon !== daemon || member.outUntilUs > nowUs)
}
