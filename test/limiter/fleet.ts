import type { Ack, Demand, Grant } from '../../src/job/permit.ts'
import type { Arrival } from './oracle.ts'

/** Decides for a whole fleet, at the store's true time. What is judged: ours, or a control. */
export type Decider = (demand: Demand, atMs: number, daemon: number) => readonly Grant[]

export interface FleetOptions {
  readonly seed: number
  readonly daemons: number
  readonly platform: string
  readonly endpoints: readonly string[]
  readonly untilMs: number
  /** A grant is used within this time of having been asked for, or dropped. */
  readonly useWithinMs: number
  /** From a daemon to the upstream, at most. */
  readonly transitMsMax: number
  readonly decide: Decider
  /** Calls of one daemon are at least this far apart. Default 100. */
  readonly gapMs?: number
  /** Mean time between two crashes of one daemon. */
  readonly crashEveryMs?: number
}

export interface FleetResult {
  readonly arrivals: readonly Arrival[]
  readonly calls: number
  readonly crashes: number
  readonly lostReplies: number
  readonly repeatedCalls: number
  readonly droppedPermits: number
  /** Requests sent by each daemon. */
  readonly sent: readonly number[]
}

const SOCKETS = 64
const ACK_DELAY_MS = 100
const CALL_TIMEOUT_MS = 500
const RESTART_MS = 3_000
const LOSS = 0.002

/**
 * A fleet of daemons in virtual time, each with more work than the limits allow: heavy-tailed network, crashes with permits held
 * and requests under way, lost replies with and without repetition, requests that the store gets twice. Deterministic.
 */
export function runFleet(options: FleetOptions): FleetResult {
  const { platform, endpoints, daemons, untilMs, useWithinMs, transitMsMax, decide, gapMs = 100 } = options
  const random = generator(options.seed)
  const agenda = new Agenda()
  const arrivals: Arrival[] = []
  const counts = { calls: 0, crashes: 0, lostReplies: 0, repeatedCalls: 0, droppedPermits: 0 }
  const sent = Array<number>(daemons).fill(0)
  let requests = 0

  /** Pareto: most are close to `least`, a few are very late, none later than `most`. */
  const delay = (least: number, most: number, shape = 1.2) =>
    Math.min(most, least / (1 - random()) ** (1 / shape))

  const boot = (id: number) => {
    let alive = true
    let free = SOCKETS
    let acks: Ack[] = []
    let calling = false
    let lastCallMs = Number.NEGATIVE_INFINITY
    let timerMs = Number.POSITIVE_INFINITY
    const deniedUntil = new Map(endpoints.map((endpoint) => [endpoint, 0]))

    const schedule = (atMs: number) => {
      const dueMs = Math.max(atMs, agenda.nowMs, lastCallMs + gapMs)
      if (!alive || calling || dueMs >= timerMs) return
      timerMs = dueMs
      agenda.at(dueMs, () => {
        if (timerMs !== dueMs) return
        timerMs = Number.POSITIVE_INFINITY
        if (alive && !calling) ask()
      })
    }
    const wake = () => {
      if (free > 0) schedule(Math.min(...deniedUntil.values()))
      if (acks.length > 0) schedule(agenda.nowMs + ACK_DELAY_MS)
    }
    const ask = () => {
      const wanted = endpoints.filter((endpoint) => deniedUntil.get(endpoint)! <= agenda.nowMs)
      const wants = free > 0 ? wanted.map((endpoint) => ({ endpoint, count: free, cost: 1 })) : []
      if (wants.length === 0 && acks.length === 0) return
      const demand = { requestId: `${id}-${requests++}`, platform, wants, acks }
      acks = []
      calling = true
      call(demand, agenda.nowMs)
    }
    const call = (demand: Demand, askedAtMs: number) => {
      counts.calls++
      lastCallMs = agenda.nowMs
      let answered = false
      const reach = (answers: boolean) => {
        const grants = decide(demand, agenda.nowMs, id)
        if (!answers) return
        if (random() < LOSS) counts.lostReplies++
        else {
          agenda.after(delay(0.2, 60), () => {
            if (!alive || answered) return
            answered = true
            take(demand, grants, askedAtMs)
          })
        }
      }
      agenda.after(delay(0.2, 60), () => reach(true))
      // The network brings it a second time.
      if (random() < LOSS) agenda.after(delay(1, 400), () => reach(false))
      agenda.after(CALL_TIMEOUT_MS, () => {
        if (!alive || answered) return
        answered = true
        const again = random() < 0.5
        counts.repeatedCalls += again ? 1 : 0
        // The same call once more. Or a new one, and then without the acknowledgements: they may have been counted, and
        // counting a unit of a grant twice would free the slot of another.
        if (again) return call(demand, askedAtMs)
        calling = false
        wake()
      })
    }
    const take = (demand: Demand, grants: readonly Grant[], askedAtMs: number) => {
      calling = false
      for (const [index, grant] of grants.entries()) {
        const want = demand.wants[index]!
        if (grant.granted < want.count) deniedUntil.set(grant.endpoint, agenda.nowMs + grant.waitMs)
        for (let i = 0; i < grant.granted; i++) {
          if (free > 0 && agenda.nowMs <= askedAtMs + useWithinMs) send(grant)
          else {
            counts.droppedPermits++
            acks.push({ endpoint: grant.endpoint, grant: grant.grant, units: 1 })
          }
        }
      }
      wake()
    }
    const send = ({ endpoint, grant }: Grant) => {
      free--
      sent[id]!++
      // What is on the network arrives, whether its sender lives or not.
      agenda.after(delay(5, transitMsMax), () => {
        arrivals.push({ atMs: agenda.nowMs, platform, endpoint, cost: 1 })
        agenda.after(delay(20, 15_000), () => {
          if (!alive) return
          free++
          acks.push({ endpoint, grant, units: 1 })
          wake()
        })
      })
    }
    if (options.crashEveryMs !== undefined) {
      agenda.after(-Math.log(1 - random()) * options.crashEveryMs, () => {
        alive = false
        counts.crashes++
        agenda.after(RESTART_MS, () => boot(id))
      })
    }
    schedule(agenda.nowMs + random() * 200)
  }

  for (let id = 0; id < daemons; id++) boot(id)
  agenda.run(untilMs)
  return { arrivals, ...counts, sent }
}

/** Things to do, by virtual time; equal times in order of entry. A binary heap. */
class Agenda {
  nowMs = 0
  #sequence = 0
  readonly #heap: { readonly atMs: number; readonly sequence: number; readonly act: () => void }[] = []

  after(delayMs: number, act: () => void): void {
    this.at(this.nowMs + delayMs, act)
  }

  at(atMs: number, act: () => void): void {
    const heap = this.#heap
    heap.push({ atMs, sequence: this.#sequence++, act })
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1
      if (!this.#before(i, parent)) break
      this.#swap(i, parent)
      i = parent
    }
  }

  run(untilMs: number): void {
    const heap = this.#heap
    for (let first = heap[0]; first !== undefined && first.atMs <= untilMs; first = heap[0]) {
      const last = heap.pop()!
      if (heap.length > 0) {
        heap[0] = last
        this.#sink()
      }
      this.nowMs = first.atMs
      first.act()
    }
  }

  #sink(): void {
    for (let i = 0; ; ) {
      let least = i
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < this.#heap.length && this.#before(child, least)) least = child
      }
      if (least === i) return
      this.#swap(i, least)
      i = least
    }
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a]!, this.#heap[b]!]
    return one.atMs < other.atMs || (one.atMs === other.atMs && one.sequence < other.sequence)
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap
    const one = heap[a]!
    heap[a] = heap[b]!
    heap[b] = one
  }
}

/** Uniform in [0, 1); mulberry32, so that a failing run can be repeated. */
export function generator(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
