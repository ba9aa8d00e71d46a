import type { Demand, Grant } from '../../src/job/permit.ts'
import { Arrivals } from '../../src/pipeline/arrivals.ts'
import { Patience, tick } from '../../src/pipeline/patience.ts'
import { generator } from '../generator.ts'
import type { Arrival } from './oracle.ts'

/**
 * Decides for a whole fleet, at the store's true time. What is judged: ours, or a control. `daemon` names one life of a daemon: who
 * comes back after a crash has another number.
 */
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
  /** A request without reply is given up after this long: its socket is free, and nobody learns whether it arrived. */
  readonly timeoutMs?: number
  /** When the limiter takes a grant for used. Default 31,000. */
  readonly grantTimeoutMs?: number
  /** Share of requests whose caller goes away while they are under way. */
  readonly abortShare?: number
  /** Mean time between two crashes of one daemon. */
  readonly crashEveryMs?: number
  /** Mean time between two stalls of one daemon's event loop, each of up to three seconds. */
  readonly stallEveryMs?: number
  /** Further than `useWithinMs` from the call to the store and back: the daemon-to-store network's latest. Default 60. */
  readonly storeMsMax?: number
}

export interface FleetResult {
  readonly arrivals: readonly Arrival[]
  readonly calls: number
  readonly crashes: number
  readonly stalls: number
  readonly aborts: number
  readonly lostReplies: number
  readonly droppedPermits: number
  /** Requests sent by each daemon, whatever its lives. */
  readonly sent: readonly number[]
}

const SOCKETS = 64
const CALL_TIMEOUT_MS = 500
const RESTART_MS = 3_000
const LOSS = 0.002
/** As the daemon has them, see pipeline/platform-permits. */
const GAP_MS = 5
const RELAXED_MS = 2_000

/**
 * A fleet of daemons in virtual time, each with more work than the limits allow: heavy-tailed network, crashes with permits held
 * and requests under way, stalls, aborted and timed-out requests that arrive all the same, lost replies, calls that the store gets
 * twice. Deterministic.
 */
export function runFleet(options: FleetOptions): FleetResult {
  const { platform, endpoints, daemons, untilMs, useWithinMs, transitMsMax, decide } = options
  const { timeoutMs = 30_000, grantTimeoutMs = 31_000, abortShare = 0, storeMsMax = 60 } = options
  const random = generator(options.seed)
  const agenda = new Agenda()
  const arrivals: Arrival[] = []
  const counts = { calls: 0, crashes: 0, stalls: 0, aborts: 0, lostReplies: 0, droppedPermits: 0 }
  const sent = Array<number>(daemons).fill(0)
  let requests = 0
  let lives = 0

  /** Pareto: most are close to `least`, a few are very late, none later than `most`. */
  const delay = (least: number, most: number, shape = 1.2) =>
    Math.min(most, least / (1 - random()) ** (1 / shape))
  const exponential = (mean: number) => -Math.log(1 - random()) * mean

  const boot = (id: number) => {
    const life = lives++
    let alive = true
    let stalledUntilMs = 0
    let free = SOCKETS
    let calling = false
    let lastCallMs = Number.NEGATIVE_INFINITY
    let timerMs = Number.POSITIVE_INFINITY
    const patience = new Patience()
    const arrivalsOf = new Arrivals(grantTimeoutMs)
    const gather = new Map(endpoints.map((endpoint) => [endpoint, RELAXED_MS]))
    const deniedUntil = new Map(endpoints.map((endpoint) => [endpoint, 0]))
    /** Held back by a level of their own: the others are asked for whenever anything is. */
    const alone = new Set<string>()

    /** Runs when the event loop does. */
    const act = (run: () => void) => {
      if (!alive) return
      if (stalledUntilMs > agenda.nowMs) agenda.at(stalledUntilMs, () => act(run))
      else run()
    }
    const schedule = (atMs: number) => {
      const dueMs = Math.max(atMs, agenda.nowMs, lastCallMs + GAP_MS)
      if (calling || dueMs >= timerMs) return
      timerMs = dueMs
      agenda.at(dueMs, () =>
        act(() => {
          if (timerMs !== dueMs) return
          timerMs = Number.POSITIVE_INFINITY
          if (!calling) ask()
        }),
      )
    }
    const wake = () => {
      if (free > 0) schedule(Math.min(...deniedUntil.values()))
      for (const { endpoint } of arrivalsOf.acks()) schedule(tick(agenda.nowMs, gather.get(endpoint)!))
    }
    const ask = () => {
      const due = endpoints.filter((endpoint) => deniedUntil.get(endpoint)! <= agenda.nowMs)
      const wanted =
        due.length === 0 ? [] : endpoints.filter((endpoint) => due.includes(endpoint) || !alone.has(endpoint))
      const wants = free > 0 ? wanted.map((endpoint) => ({ endpoint, count: free, cost: 1 })) : []
      const acks = arrivalsOf.acks()
      if (wants.length === 0 && acks.length === 0) return
      call({ requestId: `${life}-${requests++}`, platform, wants, acks, permitsMax: free })
    }
    const call = (demand: Demand) => {
      counts.calls++
      calling = true
      lastCallMs = agenda.nowMs
      const askedAtMs = agenda.nowMs
      let answered = false
      const reach = (answers: boolean) => {
        const given = decide(demand, agenda.nowMs, life)
        if (!answers) return
        if (random() < LOSS) counts.lostReplies++
        else {
          agenda.after(delay(0.2, storeMsMax), () =>
            act(() => {
              if (answered) return
              answered = true
              take(demand, given, askedAtMs)
            }),
          )
        }
      }
      agenda.after(delay(0.2, storeMsMax), () => reach(true))
      // The network brings it a second time.
      if (random() < LOSS) agenda.after(delay(1, 400), () => reach(false))
      // Nobody knows whether it was counted: what it was granted is lost, its acknowledgements are said again.
      agenda.after(CALL_TIMEOUT_MS, () =>
        act(() => {
          if (answered) return
          answered = true
          calling = false
          wake()
        }),
      )
    }
    const take = (demand: Demand, given: readonly Grant[], askedAtMs: number) => {
      calling = false
      arrivalsOf.confirm(demand.acks)
      if (demand.wants.length > 0) patience.learn(given.reduce((sum, { granted }) => sum + granted, 0))
      for (const [index, one] of given.entries()) {
        const { endpoint, granted, waitMs, gatherMs, level } = one
        if (level?.startsWith('endpoint:') === true) alone.add(endpoint)
        else alone.delete(endpoint)
        gather.set(endpoint, gatherMs)
        if (waitMs > 0) deniedUntil.set(endpoint, patience.askAt(agenda.nowMs + waitMs, gatherMs))
        if (granted > 0) arrivalsOf.granted(one, demand.wants[index]!, agenda.nowMs)
        for (let i = 0; i < granted; i++) {
          if (free > 0 && agenda.nowMs <= askedAtMs + useWithinMs) send(one)
          else {
            counts.droppedPermits++
            arrivalsOf.arrived(one)
          }
        }
      }
      wake()
    }
    const send = (grant: Grant) => {
      free--
      sent[id]!++
      let over = false
      const end = (arrived: boolean) =>
        act(() => {
          if (over) return
          over = true
          free++
          if (arrived) arrivalsOf.arrived(grant)
          wake()
        })
      // What is on the network arrives, whether its sender lives or not, waits or not.
      agenda.after(delay(5, transitMsMax), () => {
        arrivals.push({ atMs: agenda.nowMs, platform, endpoint: grant.endpoint, cost: 1 })
        agenda.after(delay(20, 15_000), () => end(true))
      })
      agenda.after(timeoutMs, () => end(false))
      if (random() < abortShare) {
        agenda.after(random() * 60, () => {
          if (!over) counts.aborts++
          end(false)
        })
      }
    }
    if (options.crashEveryMs !== undefined) {
      agenda.after(exponential(options.crashEveryMs), () => {
        alive = false
        counts.crashes++
        agenda.after(RESTART_MS, () => boot(id))
      })
    }
    const { stallEveryMs } = options
    if (stallEveryMs !== undefined) {
      const stall = () => {
        if (!alive) return
        counts.stalls++
        stalledUntilMs = agenda.nowMs + random() * 3_000
        agenda.after(exponential(stallEveryMs), stall)
      }
      agenda.after(exponential(stallEveryMs), stall)
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
