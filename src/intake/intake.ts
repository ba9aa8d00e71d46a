import { MillraceError } from '../job/errors.ts'
import type { SourceRecord } from '../job/record.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { FinishedBefore } from './beyond.ts'
import { Committer } from './committer.ts'
import { dueAtMs } from './due.ts'
import { IdleWatch } from './idle-watch.ts'
import type { IntakeHandlers, IntakeOptions, IntakeParts } from './intake-options.ts'
import { forgetLag, reportLag } from './lag.ts'
import { OpenDelivery } from './open-delivery.ts'
import { bytesOf, PartitionIntake } from './partition-intake.ts'
import { Room } from './room.ts'
import { type Partition, partitionKey, type Source, type SourceHandlers } from './source.ts'
import { Turns } from './turns.ts'

/**
 * Takes records from a source, hands them out as deliveries, and commits what is settled.
 *
 * Bounds: at `jobsMax` or `bytesMax` handed out all partitions are paused at the source, until no more than `resumeShare` of it is
 * taken; at `spanMax` that one, until half of it is. A partition is also paused while anything of it waits here to be handed out, so
 * that is one fetch of each at most. A topic of which nothing waits may fetch even then, when others have something: else weights
 * would count only until its records run out.
 *
 * A record of a retry topic is handed out when it is due; a topic can be held by itself, for a platform that cannot take more.
 *
 * Commits: every second, before a rebalance, at the end of a drain and at stop.
 */
export class Intake {
  readonly #spanMax: number
  readonly #commitEveryMs: number
  readonly #dueWaitMsMax: number
  readonly #handMsMax: number
  readonly #retryTopics: ReadonlySet<string>
  readonly #source: Source
  readonly #metrics: Metrics
  readonly #now: () => number
  readonly #room: Room
  readonly #turns: Turns
  readonly #committer: Committer
  readonly #partitions = new Map<string, PartitionIntake>()
  readonly #holds = new Set<string>()
  readonly #heldTopics = new Set<string>()
  readonly #idle: IdleWatch
  readonly #settledWaiters = new Set<() => void>()
  #handlers: IntakeHandlers | undefined
  #handing = false
  #nextTurn: NodeJS.Immediate | undefined
  #handUntilMs = 0
  /** As it was when the partitions were last looked at. */
  #anyPaused = false
  #wasFull = false
  /** The last handing out ended for want of room. */
  #lacksRoom = false
  #assigned = false
  #timer: NodeJS.Timeout | undefined
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  constructor(options: IntakeOptions, parts: IntakeParts) {
    this.#spanMax = options.spanMax ?? 20_000
    this.#commitEveryMs = options.commitEveryMs ?? 1_000
    this.#dueWaitMsMax = options.dueWaitMsMax ?? 6 * 60 * 60 * 1000
    this.#handMsMax = options.handMsMax ?? 3
    this.#retryTopics = new Set(options.retryTopics)
    this.#turns = new Turns(options.weights ?? {})
    this.#source = parts.source
    this.#metrics = parts.metrics
    this.#now = parts.now ?? Date.now
    this.#room = new Room({
      jobsMax: options.jobsMax ?? 10_000,
      bytesMax: options.bytesMax ?? 64 * 1024 * 1024,
      resumeShare: options.resumeShare ?? 0.5,
      ofTopics: options.topicBounds ?? new Map(),
    })
    this.#committer = new Committer({ ...parts, partitions: this.#partitions, now: this.#now })
    this.#idle = new IdleWatch({
      source: parts.source,
      partitions: this.#partitions,
      room: this.#room,
      waitForRetries: options.waitForRetries ?? true,
      now: this.#now,
    })
  }

  /** Connects the source; deliveries begin as partitions are assigned. Rejects as the source's start does. */
  async start(handlers: IntakeHandlers): Promise<void> {
    this.#started ??= this.#start(handlers)
    await this.#started
  }

  /** True while the source knows what is ours (it may be nothing); false at start, during a rebalance and after a crash. */
  get assigned(): boolean {
    return this.#assigned
  }

  /** Deliveries that are handed out and not settled. */
  get inFlight(): number {
    return this.#room.handed
  }

  /** The partitions that are assigned here. */
  get partitions(): readonly (Partition & { readonly paused: boolean })[] {
    return [...this.#partitions.values()].map(({ partition, paused }) => ({ ...partition, paused }))
  }

  /** Why nothing is taken in at the moment; empty when nothing holds it. */
  get holds(): readonly string[] {
    return [...this.#holds]
  }

  /** Resolves when a finite source is exhausted and all of it is settled. Never, for an endless one. */
  get idle(): Promise<void> {
    return this.#idle.reached
  }

  /** Takes nothing in until every reason is released. Heart-beats and what is in flight go on. */
  hold(reason: string): void {
    this.#holds.add(reason)
    this.#regulate()
  }

  release(reason: string): void {
    if (!this.#holds.delete(reason)) return
    this.#hand()
    this.#regulate()
  }

  /** Takes nothing of one topic in until it is released. */
  holdTopic(topic: string): void {
    if (this.#heldTopics.has(topic)) return
    this.#heldTopics.add(topic)
    this.#regulate()
  }

  releaseTopic(topic: string): void {
    if (!this.#heldTopics.delete(topic)) return
    this.#hand()
    this.#regulate()
  }

  /** Records of a topic that nobody has finished, in all its partitions, whoever owns them; undefined while it is not known. */
  backlog(topic: string): number | undefined {
    return this.#source.backlog(topic)
  }

  /**
   * Takes nothing in any more, waits until everything is settled or `signal` is aborted, then commits. Resolves with the
   * number of deliveries that are still open; their records will be delivered again.
   */
  async drain(signal: AbortSignal): Promise<number> {
    this.hold('drain')
    if (this.#room.handed > 0 && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const stopWaiting = () => resolve()
      this.#settledWaiters.add(stopWaiting)
      signal.addEventListener('abort', stopWaiting, { once: true })
      await promise
      signal.removeEventListener('abort', stopWaiting)
      this.#settledWaiters.delete(stopWaiting)
    }
    await this.#committer.commitLast()
    return this.#room.handed
  }

  /** Commits and leaves. Deliveries that are still open are lost to us: their records will be delivered again. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    await this.#stopped
  }

  async #start(handlers: IntakeHandlers): Promise<void> {
    this.#handlers = handlers
    await this.#source.start(this.#listener(handlers))
    if (this.#stopped !== undefined) return
    this.#timer = setInterval(() => this.#tick(), this.#commitEveryMs)
  }

  async #stop(): Promise<void> {
    clearInterval(this.#timer)
    clearImmediate(this.#nextTurn)
    this.hold('stop')
    if (this.#started !== undefined) await this.#committer.commitLast()
    await this.#source.stop()
    for (const state of [...this.#partitions.values()]) this.#drop(state)
    this.#assigned = false
  }

  #listener(handlers: IntakeHandlers): SourceHandlers {
    return {
      onAssigned: (partition, epoch, beyond) => {
        const key = partitionKey(partition)
        const stale = this.#partitions.get(key)
        if (stale !== undefined) this.#drop(stale)
        const before = beyond === undefined ? undefined : FinishedBefore.read(beyond)
        const isRetry = this.#retryTopics.has(partition.topic)
        const state = new PartitionIntake(partition, epoch, isRetry, before)
        this.#partitions.set(key, state)
        this.#turns.add(state)
        this.#regulate()
      },
      onRecords: (partition, epoch, records, next) => this.#onRecords(partition, epoch, records, next),
      onLost: (partition, epoch) => {
        const state = this.#partitions.get(partitionKey(partition))
        if (state?.epoch !== epoch) return
        this.#drop(state)
        this.#hand()
        this.#regulate()
      },
      onRebalance: (phase) => {
        this.#assigned = phase === 'finished'
        if (phase === 'finished') this.#metrics.kafka_rebalances_total.inc()
        else void this.#committer.commit()
      },
      onFatal: (error) => handlers.onFatal(error),
      onEnd: () => this.#idle.inputEnded(),
    }
  }

  #onRecords(partition: Partition, epoch: number, records: readonly SourceRecord[], next: number): void {
    const state = this.#partitions.get(partitionKey(partition))
    if (state?.epoch !== epoch) return
    for (const record of records) {
      if (!state.ledger.take(record.offset, record.timestampMs)) continue
      state.push({ record, dueAtMs: state.isRetry ? this.#dueAt(record) : 0 })
    }
    state.ledger.skipTo(next)
    this.#hand()
    this.#regulate()
  }

  #dueAt(record: SourceRecord): number {
    return Math.min(dueAtMs(record.headers) ?? 0, this.#now() + this.#dueWaitMsMax)
  }

  /**
   * Hands out what waits, in turns, while there is room, for a few milliseconds of each turn of the event loop; what is left
   * follows in the next ones. A settle inside a handler comes back here and is absorbed. True when the source, or a timer, has to be told:
   * nothing is left of a partition, or another retry is its first.
   */
  #hand(): boolean {
    if (this.#handing) return false
    this.#handing = true
    this.#lacksRoom = false
    let isToTell = false
    const nowMs = this.#now()
    while (this.#holds.size === 0 && this.#room.canHand) {
      const state = this.#turns.next((one) => this.#mayHand(one, nowMs))
      if (state === undefined || !this.#mayGoOn()) break
      const { record } = state.shift()
      if (state.length === 0 || state.isRetry) isToTell = true
      this.#deliver(state, record)
    }
    if (!this.#room.canHand) this.#lacksRoom = true
    this.#handing = false
    return isToTell
  }

  /** False when this turn of the event loop has handed out for long enough. */
  #mayGoOn(): boolean {
    const nowMs = performance.now()
    if (this.#nextTurn === undefined) {
      this.#handUntilMs = nowMs + this.#handMsMax
      this.#nextTurn = setImmediate(() => {
        this.#nextTurn = undefined
        if (this.#anyPaused) this.#wake()
      })
    }
    return nowMs < this.#handUntilMs
  }

  #mayHand(state: PartitionIntake, nowMs: number): boolean {
    const { topic } = state.partition
    if (state.length === 0 || this.#heldTopics.has(topic)) return false
    if (state.isRetry && state.isEarly(nowMs)) return false
    if (this.#room.canHandOf(topic)) return true
    this.#lacksRoom = true
    return false
  }

  #deliver(state: PartitionIntake, record: SourceRecord): void {
    const bytes = bytesOf(record)
    this.#room.hand(record.topic, bytes)
    const holdsUp = () => state.ledger.span >= this.#spanMax / 2
    const delivery = new OpenDelivery({ record, bytes, lost: state.lost, holdsUp }, (settled) =>
      this.#settle(state, settled),
    )
    state.open.set(record.offset, delivery)
    try {
      this.#handlers?.onDelivery(delivery)
    } catch (error) {
      // The record stays unfinished, so it is never committed, and the process is restarted.
      this.#handlers?.onFatal(
        new MillraceError('INTAKE_HANDLER', 'The pipeline threw at a delivery, which it must not', {
          cause: error,
        }),
      )
    }
  }

  #settle(state: PartitionIntake, { record: { topic, offset }, bytes }: OpenDelivery): void {
    // Settled before, or lost.
    if (!state.open.delete(offset)) return
    state.ledger.finish(offset)
    this.#room.settle(topic, bytes)
    // Whatever waits has its partition paused.
    if (this.#anyPaused) {
      const isToTell = this.#lacksRoom && this.#hand()
      // Most settles change nothing for the source, and with each of them looking at every partition takes long.
      if (isToTell || this.#room.isFull !== this.#wasFull || state.spanChanges(this.#spanMax))
        this.#regulate()
    }
    if (this.#room.handed > 0) return
    for (const resolve of this.#settledWaiters) resolve()
    this.#idle.check()
  }

  /** The partition is no longer ours. */
  #drop(state: PartitionIntake): void {
    this.#partitions.delete(partitionKey(state.partition))
    this.#turns.remove(state)
    forgetLag(state, this.#metrics)
    for (const { record, bytes } of state.lose()) this.#room.settle(record.topic, bytes)
    if (this.#room.handed === 0) for (const resolve of this.#settledWaiters) resolve()
  }

  /** Tells the source which partitions to pause and which to resume, after anything that bears on it has changed. */
  #regulate(): void {
    const nowMs = this.#now()
    const isFull = this.#room.isFull
    this.#wasFull = isFull
    const waitingTopics = isFull ? this.#waitingTopics(nowMs) : undefined
    const pause: Partition[] = []
    const resume: Partition[] = []
    let pausedForRoom = 0
    this.#anyPaused = false
    for (const state of this.#partitions.values()) {
      const { topic } = state.partition
      if (state.isRetry && state.length > 0) state.wakeWhenDue(nowMs, () => this.#wake())
      const starves = waitingTopics !== undefined && waitingTopics.size > 0 && !waitingTopics.has(topic)
      // The span is evaluated for all, so that each keeps its own memory of having been full.
      const isBounded = state.isSpanFull(this.#spanMax) || (isFull && !starves) || this.#holds.size > 0
      const isPaused = isBounded || state.length > 0 || this.#heldTopics.has(topic)
      if (isBounded) pausedForRoom += 1
      if (isPaused) this.#anyPaused = true
      if (isPaused === state.paused) continue
      state.paused = isPaused
      if (isPaused) pause.push(state.partition)
      else resume.push(state.partition)
    }
    this.#metrics.kafka_paused_partitions.set(pausedForRoom)
    if (pause.length > 0) this.#source.pause(pause)
    if (resume.length > 0) this.#source.resume(resume)
  }

  /** Topics of which something waits for nothing but room. */
  #waitingTopics(nowMs: number): ReadonlySet<string> {
    const topics = new Set<string>()
    for (const state of this.#partitions.values()) {
      if (this.#mayHand(state, nowMs)) topics.add(state.partition.topic)
    }
    return topics
  }

  #wake(): void {
    this.#hand()
    this.#regulate()
  }

  #tick(): void {
    void this.#committer.commit()
    reportLag(this.#source, this.#partitions, this.#metrics, this.#now())
    this.#wake()
    this.#idle.check()
  }
}
