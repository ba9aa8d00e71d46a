import { messageOf } from '../job/errors.ts'
import { type Job, parseJob } from '../job/job.ts'
import { type Marks, markOf, markOfRecord } from '../job/mark.ts'
import type { Outcome } from '../job/outcome.ts'
import type { Progress } from '../job/progress.ts'
import type { Delivery } from '../job/record.ts'
import { joined, sleep } from '../lib/abort.ts'
import { EACH, type Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Secrets } from '../telemetry/secrets.ts'
import type { Traces } from '../telemetry/traces.ts'
import type { Completion, Ended, Ending } from './completion.ts'
import type { DeadBreaker } from './dead-breaker.ts'
import { type Errand, observed } from './errand.ts'
import { type FailedJob, FailureBook } from './failure-book.ts'
import { ABANDONED, IN_THE_WAY, runJob } from './job-run.ts'
import type { Parking } from './parking.ts'
import type { PlatformSwitch } from './platform-switch.ts'
import type { RetryPolicy } from './retry-policy.ts'
import type { Upstream } from './upstream.ts'

export interface PipelineParts {
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly completion: Completion
  readonly marks: Marks
  readonly parking: Parking
  readonly pauses: Pick<PlatformSwitch, 'pause'>
  readonly breaker: DeadBreaker
  readonly retry: RetryPolicy
  readonly metrics: Metrics
  readonly log: Log
  /** What no message may hold. */
  readonly secrets: Secrets
  /** Which ended jobs get a line of the log. */
  readonly logJobs: 'failures' | 'all' | 'none'
  /** Undefined when nobody traces. */
  readonly traces?: Traces | undefined
  /** Told of jobs that somebody watches. */
  readonly progress?: Progress | undefined
}

const AGAIN_MS = { first: 1_000, most: 60_000 }

/**
 * From a delivered record to everything that follows from it being stored: parse, run the adapter, complete. Deliveries are
 * worked on all at once; what holds them back are permits, sockets and sinks. How many there may be is the intake's bound.
 */
export class Pipeline {
  readonly #parts: PipelineParts
  readonly #attemptsEnd = new AbortController()
  readonly #end = new AbortController()
  /** For each partition's assignment its signal joined with ours: jobs share them, none has a listener of its own. */
  readonly #signals = new WeakMap<AbortSignal, Signals>()
  readonly #failures = new FailureBook()
  #inFlight = 0
  #consumed = 0
  readonly #finished: Record<Ended['status'], number> = { done: 0, skipped: 0, dead: 0, retry: 0 }

  constructor(parts: PipelineParts) {
    this.#parts = parts
  }

  /** Takes a delivery on; it is settled when everything that follows from it is stored. */
  accept(delivery: Delivery): void {
    this.#inFlight++
    void this.#runUntilComplete(delivery)
  }

  /**
   * What no part of ours expects must not leave a record unfinished for good: it would hold the partition's commits, and some
   * thousands of them the whole intake. Whatever was done is idempotent, so it is done again; never rejects.
   */
  async #runUntilComplete(delivery: Delivery): Promise<void> {
    const signals = this.#signalsOf(delivery.lost)
    const { completion } = signals
    for (let pauseMs = AGAIN_MS.first; !completion.aborted; pauseMs = Math.min(pauseMs * 2, AGAIN_MS.most)) {
      try {
        await this.#run(delivery, signals)
        break
      } catch (error) {
        if (completion.aborted) break
        const { topic, partition, offset } = delivery.record
        this.#parts.log.error(
          { err: error, topic, partition, offset, again_in_ms: pauseMs },
          'a record could not be completed',
        )
        await sleep(pauseMs, completion).catch(() => {})
      }
    }
    this.#inFlight--
  }

  /** Gives up the attempts that are under way; what has been fetched is still completed. */
  abandonAttempts(): void {
    this.#attemptsEnd.abort(new Error('the daemon is stopping'))
  }

  /** Gives up everything; what is not settled by now is delivered again. */
  abandon(): void {
    this.abandonAttempts()
    this.#end.abort(new Error('the daemon is stopping'))
  }

  /** Jobs taken on and not ended. */
  get inFlight(): number {
    return this.#inFlight
  }

  get counts(): { readonly consumed: number; readonly finished: Readonly<Record<Ended['status'], number>> } {
    return { consumed: this.#consumed, finished: this.#finished }
  }

  /** The newest of each reason, newest first. */
  get recentFailures(): readonly FailedJob[] {
    return this.#failures.newest
  }

  async #run(delivery: Delivery, signals: Signals): Promise<void> {
    const { metrics, upstreams, traces } = this.#parts
    const parsed = parseJob(delivery.record)
    const job = 'job' in parsed ? parsed.job : null
    const upstream = job === null ? undefined : upstreams.get(job.platform)
    const labels = labelsOf(job, upstream)
    const { platform } = labels
    const taken: Taken = {
      delivery,
      job,
      name: job === null ? markOfRecord(delivery.record) : markOf(job),
      labels,
      minIntervalMs: (job === null ? undefined : upstream?.minIntervalMs(job.type)) ?? 0,
      startedAtMs: Date.now(),
      signal: signals.completion,
      trace: traces?.job(delivery.record, {
        'millrace.platform': platform,
        'millrace.job_type': labels.job_type,
        ...(job !== null && { 'millrace.job_id': job.id }),
      }),
    }
    metrics.jobs_in_flight.inc({ platform })
    try {
      const result = await this.#parts.marks.ended(taken.name, taken.signal)
      if (result !== null) {
        metrics.jobs_replayed_total.inc({ platform })
        await this.#parts.completion.repeat(taken, result)
        taken.trace?.end('repeated')
      } else if ('malformed' in parsed) {
        const ending = { ...taken, creatorId: '', attempts: 0, throttled: 0 }
        await this.#complete(ending, { status: 'dead', reason: 'malformed', message: parsed.malformed })
      } else {
        await this.#runJob(taken, parsed.job, { upstream, signal: signals.attempts })
      }
    } finally {
      metrics.jobs_in_flight.dec({ platform })
      taken.trace?.end('abandoned')
    }
  }

  async #runJob(
    taken: Taken,
    job: Job,
    { upstream, signal }: { upstream: Upstream | undefined; signal: AbortSignal },
  ): Promise<void> {
    const { metrics, completion, marks, parking, retry, log, secrets } = this.#parts
    const { delivery, labels, startedAtMs } = taken
    const { platform } = labels
    const tally = { attempts: job.attempts, throttled: job.throttled, badResponses: 0 }

    /** False when its topic does not take it. */
    const park = async (topic: string) => {
      const isParked = await completion.park(taken, topic)
      if (isParked) {
        metrics.jobs_parked_total.inc({ platform })
        taken.trace?.end('parked')
      }
      return isParked
    }
    const aside = parking.topicFor(platform, delivery)
    // Who is not put aside is admitted in the same turn: the next one is measured by it.
    let mayBePutAside = aside === undefined
    if (aside !== undefined && (await park(aside))) return
    const standing = parking.admit(platform, delivery)
    this.#consumed++
    metrics.jobs_consumed_total.inc({ platform })
    const watcher = job.watched ? this.#parts.progress : undefined
    const plain: Errand = {
      priority: job.priority,
      sinceMs: job.parkedAtMs ?? startedAtMs,
      expiresAtMs: job.expiresAtMs,
      signal,
      tally,
      standing,
      isInTheWay: () =>
        mayBePutAside && delivery.holdsUp && parking.topicFor(platform, delivery) !== undefined,
      calls: 0,
      renewed: undefined,
      observedAtMs: startedAtMs,
      creatorId: job.creatorId,
      trace: taken.trace,
    }
    const errand = watcher === undefined ? plain : observed(plain, () => watcher.begun(job.id))
    // Until it is seen to need nothing of its platform.
    standing.waits()
    let outcome: Awaited<ReturnType<typeof runJob>>
    try {
      outcome = await runJob(job, upstream, errand, { retry, marks, log, secrets })
      if (outcome === IN_THE_WAY) {
        standing.moves()
        const topic = parking.topicFor(platform, delivery)
        if (topic !== undefined && (await park(topic))) {
          if (errand.calls > 0) watcher?.waits(job.id)
          return
        }
        // Not possible any more, or its topic does not take it: then it waits on.
        mayBePutAside = false
        outcome = await runJob(job, upstream, errand, { retry, marks, log, secrets })
      }
    } finally {
      standing.ends()
    }
    if (outcome === ABANDONED || outcome === IN_THE_WAY || outcome.status === 'retry') {
      // Before it is put anywhere: whoever takes it from there may begin at once.
      if (errand.calls > 0) watcher?.waits(job.id)
    }
    if (outcome === ABANDONED || outcome === IN_THE_WAY) return
    // The attempt that succeeded counts too; one that failed is in the tally.
    const attempts = tally.attempts + (outcome.status === 'done' ? 1 : 0)
    await this.#complete(
      { ...taken, creatorId: errand.creatorId, attempts, throttled: tally.throttled },
      outcome,
    )
  }

  async #complete(ending: Ending, outcome: Outcome): Promise<void> {
    this.#ended(ending, await this.#parts.completion.complete(ending, outcome), outcome)
  }

  #ended(ending: Ending, ended: Ended, outcome: Outcome): void {
    const { metrics, breaker, pauses, log, logJobs } = this.#parts
    const { job, labels, startedAtMs, trace } = ending
    const { platform } = labels
    const nowMs = Date.now()
    const message = 'message' in outcome ? outcome.message : ''
    this.#finished[ended.status]++
    trace?.end(ended.status, {
      'millrace.attempts': ending.attempts,
      ...(ended.reason !== null && { 'millrace.reason': ended.reason }),
    })
    if (ended.status !== 'retry') {
      metrics.jobs_finished_total.inc({ ...labels, outcome: ended.status })
      metrics.job_duration_seconds.observe(labels, (nowMs - startedAtMs) / 1000)
      if (job !== null && ended.status === 'done') {
        metrics.job_freshness_seconds.observe({ platform }, Math.max(0, nowMs - job.requestedAtMs) / 1000)
      }
      const deadFor = ended.status === 'dead' && ended.reason !== 'fresh' ? ended.reason : null
      if (breaker.count(platform, deadFor) && platform !== 'unknown') {
        pauses.pause(platform, `most of its jobs die, the last for ${deadFor}`)
        log.error({ platform, reason: deadFor, message }, 'most jobs of a platform die: it is paused')
      }
    }
    const failed = ended.status === 'dead' || ended.status === 'retry'
    if (failed) {
      this.#failures.note({
        at: new Date(nowMs).toISOString(),
        platform,
        reason: ended.reason ?? '',
        message,
        outcome: ended.status === 'dead' ? 'dead' : 'retry',
        jobId: job?.id ?? '',
        creatorId: job?.creatorId ?? '',
      })
    }
    if (logJobs === 'all' || (logJobs === 'failures' && failed)) {
      const { topic, partition, offset } = ending.delivery.record
      log.info(
        {
          ...(logJobs === 'all' && { [EACH]: true }),
          job_id: job?.id,
          platform,
          topic,
          partition,
          offset,
          attempt: ending.attempts,
          reason: ended.reason,
          duration_ms: nowMs - startedAtMs,
          ...(message === '' ? {} : { message: messageOf(message, 500) }),
        },
        `job ${ended.status}`,
      )
    }
  }

  #signalsOf(lost: AbortSignal): Signals {
    let signals = this.#signals.get(lost)
    if (signals === undefined) {
      signals = {
        attempts: joined([lost, this.#attemptsEnd.signal]),
        completion: joined([lost, this.#end.signal]),
      }
      this.#signals.set(lost, signals)
    }
    return signals
  }
}

/** An ending before it is known how much was done. */
type Taken = Omit<Ending, 'creatorId' | 'attempts' | 'throttled'>

interface Signals {
  readonly attempts: AbortSignal
  readonly completion: AbortSignal
}

/** Labels never take what a producer wrote: an unknown platform or job type is `unknown`. */
function labelsOf(job: Job | null, upstream: Upstream | undefined): Ending['labels'] {
  if (job === null || upstream === undefined) return { platform: 'unknown', job_type: 'unknown' }
  return {
    platform: upstream.platform.name,
    job_type: Object.hasOwn(upstream.platform.jobs, job.type) ? job.type : 'unknown',
  }
}
