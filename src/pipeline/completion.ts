import { MillraceError, messageOf } from '../job/errors.ts'
import { defaultIdOf, type Job } from '../job/job.ts'
import type { Marks } from '../job/mark.ts'
import type { FollowUp, Harvest, Outcome, ResultMessage } from '../job/outcome.ts'
import type { PictureOutcome, PictureRequest, PictureStage } from '../job/picture.ts'
import type { Reason } from '../job/reason.ts'
import type { Delivery, OutRecord, Publisher, RecordHeaders } from '../job/record.ts'
import { type PictureRow, type Row, type RowSink, RowsRejectedError } from '../job/row.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { JobTrace } from '../telemetry/traces.ts'
import {
  bareRecord,
  cutRecord,
  deadLetter,
  followUpRecords,
  parkedRecord,
  producersTrace,
  resultRecord,
  retryRecord,
  type Trouble,
  type Writer,
} from './messages.ts'

export interface CompletionPorts {
  readonly publisher: Publisher
  readonly rows: RowSink
  readonly marks: Marks
  /** Undefined when pictures are switched off. */
  readonly pictures: PictureStage | undefined
  readonly metrics: Metrics
}

export interface CompletionOptions {
  readonly writer: Writer
  readonly resultsTopic: string
  readonly deadTopic: string
  /** Where a platform's follow-up jobs go. */
  readonly followUpTopic: (platform: string) => string
  /** Shortest first. */
  readonly retryTopics: readonly { topic: string; delayMs: number }[]
}

/** A job on its way to its end. */
export interface Ending {
  readonly delivery: Delivery
  /** Null for a record that is no job. */
  readonly job: Job | null
  /** Among the marks. */
  readonly name: string
  /** As the platform normalises it: `@Foo` and `foo` are one creator. Results keep what the producer wrote. */
  readonly creatorId: string
  /** The platform's and job type's names as metrics may carry them: known ones, or `unknown`. */
  readonly labels: { readonly platform: string; readonly job_type: string }
  /** For how long a creator counts as scraped, ms; 0: not at all. */
  readonly minIntervalMs: number
  readonly startedAtMs: number
  readonly attempts: number
  readonly throttled: number
  readonly signal: AbortSignal
  /** Undefined when nobody traces. */
  readonly trace?: JobTrace | undefined
}

export type Ended = {
  readonly status: 'done' | 'skipped' | 'dead' | 'retry'
  readonly reason: Reason | 'fresh' | null
}

/**
 * Stores all that follows from an outcome, in the order that makes a crash at any point harmless: pictures, rows, follow-ups or
 * the dead letter, then the mark that the job has ended so, then its result. Only when that is acknowledged is the record
 * settled. What stands before the mark is idempotent, so that a repetition after a crash stores the same again; what stands
 * behind it is said by the mark, so that no job ever has two results that differ. Rejects only when `signal` is aborted or the
 * publisher refuses a record for good: then the record stays unsettled and is delivered again.
 */
export class Completion {
  readonly #ports: CompletionPorts
  readonly #options: CompletionOptions

  constructor(ports: CompletionPorts, options: CompletionOptions) {
    this.#ports = ports
    this.#options = options
  }

  async complete(ending: Ending, outcome: Outcome): Promise<Ended> {
    switch (outcome.status) {
      case 'retry': {
        if (await this.#retry(ending, outcome)) break
        const { reason } = outcome
        const message = `${outcome.message}; and the retry topic does not take it: it is too large`
        await this.#dead(ending, reason, message, Date.now())
        ending.delivery.settle()
        return { status: 'dead', reason }
      }
      case 'done': {
        const refused = await this.#done(ending, outcome.harvest, outcome.observedAtMs)
        if (refused === null) break
        // A moment later: where a row says already that the job is done, this one replaces it.
        await this.#dead(ending, refused.reason, refused.message, outcome.observedAtMs + 1)
        ending.delivery.settle()
        return { status: 'dead', reason: refused.reason }
      }
      case 'skipped':
        await this.#conclude(ending, { status: 'skipped', reason: outcome.reason })
        break
      case 'dead':
        await this.#dead(ending, outcome.reason, outcome.message, outcome.observedAtMs ?? Date.now())
        break
      default:
        outcome satisfies never
    }
    ending.delivery.settle()
    return { status: outcome.status, reason: 'reason' in outcome ? outcome.reason : null }
  }

  /** Puts a job aside into the topic of its platform, where it will be taken from again; false when the topic does not take it. */
  async park({ delivery, signal }: Pick<Ending, 'delivery' | 'signal'>, topic: string): Promise<boolean> {
    try {
      await this.#ports.publisher.publish(topic, [parkedRecord(delivery.record, Date.now())], signal)
    } catch (error) {
      if (isRefused(error)) return false
      throw error
    }
    delivery.settle()
    return true
  }

  /** Sends the result again of a job that has ended before. */
  async repeat(ending: Pick<Ending, 'delivery' | 'signal' | 'trace'>, result: Buffer): Promise<void> {
    await this.#sendAgain(ending, result)
    ending.delivery.settle()
  }

  /** Null, or why ClickHouse refused the rows, or the jobs topic a follow-up. */
  async #done(ending: Ending, harvest: Harvest, observedAtMs: number): Promise<Refusal | null> {
    const { job, signal } = ending
    if (job === null) throw new TypeError('a record that is no job cannot be done')
    const pictures = harvest.pictures === undefined ? [] : await this.#pictures(ending, harvest.pictures)
    const rows: Row[] = [...(harvest.rows ?? []), ...pictures.flatMap(pictureRows)]
    try {
      await this.#write(ending, job, rows, observedAtMs, 'done', '')
    } catch (error) {
      if (error instanceof RowsRejectedError) return { reason: 'bad_response', message: messageOf(error) }
      throw error
    }
    if (ending.minIntervalMs > 0) {
      const { platform, type: jobType } = job
      const scraped = { platform, creatorId: ending.creatorId, jobType }
      await this.#ports.marks.scraped(scraped, ending.name, ending.minIntervalMs, signal)
    }
    try {
      if (harvest.followUps !== undefined) await this.#followUp(ending, job, harvest.followUps)
    } catch (error) {
      if (!isRefused(error)) throw error
      // Unknown fields of the parent go along, so a parent that just fitted may have follow-ups that do not.
      return { reason: 'too_large', message: `a follow-up job is too large: ${messageOf(error)}` }
    }
    await this.#conclude(ending, {
      status: 'done',
      reason: null,
      rows: rows.length,
      pictures: pictures.flatMap((one) =>
        one.status === 'stored' ? one.variants.map((variant) => variant.key) : [],
      ),
      pictures_rejected: pictures.flatMap((one) =>
        one.status === 'rejected'
          ? [{ url: one.url, reason: 'picture_rejected' as const, message: one.why }]
          : [],
      ),
      data: harvest.data ?? null,
    })
    return null
  }

  async #followUp(ending: Ending, job: Job, followUps: readonly FollowUp[]): Promise<void> {
    const { signal } = ending
    const byTopic = new Map<string, OutRecord[]>()
    for (const [index, record] of followUpRecords(job, followUps, traceOf(ending)).entries()) {
      const topic = this.#options.followUpTopic(followUps[index]?.platform ?? job.platform)
      byTopic.set(topic, [...(byTopic.get(topic) ?? []), record])
    }
    for (const [topic, records] of byTopic) await this.#ports.publisher.publish(topic, records, signal)
  }

  async #pictures(ending: Ending, requests: readonly PictureRequest[]): Promise<PictureOutcome[]> {
    const { pictures, metrics } = this.#ports
    if (pictures === undefined) return []
    return Promise.all(
      requests.map(async (request) => {
        const outcome = await pictures.process(request, ending.signal, ending.trace)
        const counted = outcome.status === 'stored' && outcome.known ? 'known' : outcome.status
        metrics.pictures_total.inc({ platform: ending.labels.platform, outcome: counted })
        return outcome
      }),
    )
  }

  async #dead(ending: Ending, reason: Reason, message: string, observedAtMs: number): Promise<void> {
    const { metrics } = this.#ports
    const { job, delivery, signal, attempts, throttled } = ending
    // What was not fetched has no row; that the creator is gone is a fact about them.
    const rows: Row[] = job !== null && reason === 'not_found' ? [goneRow(ending.creatorId)] : []
    if (job !== null && ending.labels.platform !== 'unknown') {
      await this.#write(ending, job, rows, observedAtMs, 'dead', reason).catch((error: unknown) => {
        // A job that cannot even be told of in a table is a dead letter all the same: no record may stop its partition.
        if (!(error instanceof RowsRejectedError)) throw error
      })
    }
    const trouble: Trouble = { reason, message, attempts, throttled }
    const letter = deadLetter(delivery.record, trouble, this.#options.writer)
    await this.#publishOr(this.#options.deadTopic, letter, signal, () => [
      cutRecord(letter),
      bareRecord(letter),
    ])
    metrics.dead_letters_total.inc({ platform: ending.labels.platform, reason })
    await this.#conclude(ending, { status: 'dead', reason, message })
  }

  /** False when the topic does not take it. */
  async #retry(ending: Ending, outcome: Outcome & { status: 'retry' }): Promise<boolean> {
    const { publisher, metrics } = this.#ports
    const { retryTopics, writer } = this.#options
    const next = retryTopics.find(({ delayMs }) => delayMs >= outcome.delayMs) ?? retryTopics.at(-1)
    if (next === undefined) throw new TypeError('no retry topic is configured')
    const trouble = {
      reason: outcome.reason,
      message: outcome.message,
      attempts: ending.attempts,
      throttled: ending.throttled,
      dueAtMs: Date.now() + next.delayMs,
    }
    try {
      await publisher.publish(
        next.topic,
        [retryRecord(ending.delivery.record, trouble, writer)],
        ending.signal,
      )
    } catch (error) {
      if (isRefused(error)) return false
      throw error
    }
    metrics.retries_total.inc({ platform: ending.labels.platform, reason: outcome.reason })
    return true
  }

  #write(
    ending: Ending,
    job: Job,
    rows: readonly Row[],
    observedAtMs: number,
    status: 'done' | 'dead',
    reason: string,
  ): Promise<void> {
    const durationMs = Date.now() - ending.startedAtMs
    const inserted = ending.trace?.step('insert', { 'millrace.rows': rows.length + 1 })
    const writing = this.#ports.rows.write(
      {
        jobId: job.id,
        platform: job.platform,
        creatorId: ending.creatorId,
        tsMs: job.requestedAtMs,
        observedAtMs,
        rows: [
          ...rows,
          { table: 'jobs', jobType: job.type, status, reason, attempts: ending.attempts, durationMs },
        ],
      },
      ending.signal,
    )
    if (inserted !== undefined) writing.then(() => inserted(), inserted)
    return writing
  }

  /** Marks the job as ended with this result and sends it, or the one that it had ended with before. */
  async #conclude(
    ending: Ending,
    result: Partial<ResultMessage> & Pick<ResultMessage, 'status' | 'reason'>,
  ): Promise<void> {
    const { job, delivery, signal } = ending
    const message: ResultMessage = {
      job_id: job?.id ?? defaultIdOf(delivery.record),
      platform: job?.platform ?? '',
      creator_id: job?.creatorId ?? '',
      job_type: job?.type ?? '',
      status: result.status,
      reason: result.reason,
      message: result.message ?? null,
      replayed: false,
      attempts: ending.attempts,
      rows: result.rows ?? 0,
      pictures: result.pictures ?? [],
      pictures_rejected: result.pictures_rejected ?? [],
      data: result.data ?? null,
      started_at: new Date(ending.startedAtMs).toISOString(),
      finished_at: new Date().toISOString(),
    }
    const ours = Buffer.from(JSON.stringify(message))
    const standing = await this.#ports.marks.end(ending.name, ours, signal)
    await (standing === ours ? this.#send(ending, message, ours) : this.#sendAgain(ending, standing))
  }

  #sendAgain(ending: Pick<Ending, 'delivery' | 'signal' | 'trace'>, result: Buffer): Promise<void> {
    return this.#send(ending, { ...(JSON.parse(result.toString()) as ResultMessage), replayed: true })
  }

  /** `bytes`: the result as JSON, where it has been written down already. */
  #send(
    ending: Pick<Ending, 'delivery' | 'signal' | 'trace'>,
    result: ResultMessage,
    bytes?: Buffer,
  ): Promise<void> {
    const { signal } = ending
    const trace = traceOf(ending)
    const whole = resultRecord(result, trace, bytes)
    return this.#publishOr(this.#options.resultsTopic, whole, signal, () => {
      // The rows hold what a result too large for its topic has to leave out.
      const slim = { ...result, data: null, pictures: [] }
      return [resultRecord(slim, trace), resultRecord({ ...slim, pictures_rejected: [] }, {})]
    })
  }

  /** Publishes a record, or, when it is refused for good, the first of `smaller` that is not: no record may stop its partition. */
  async #publishOr(
    topic: string,
    record: OutRecord,
    signal: AbortSignal,
    smaller: () => readonly OutRecord[],
  ): Promise<void> {
    try {
      await this.#ports.publisher.publish(topic, [record], signal)
    } catch (error) {
      if (!isRefused(error)) throw error
      const [next, ...rest] = smaller()
      if (next === undefined) throw error
      await this.#publishOr(topic, next, signal, () => rest)
    }
  }
}

/** Why a job whose pages are all fetched cannot be done nevertheless. */
interface Refusal {
  readonly reason: Reason
  readonly message: string
}

/** The topic will never take the record, for what it is. */
function isRefused(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'RECORD_REFUSED'
}

/** Of the delivery's own span, or, when nobody traces, what the producer said. */
function traceOf({ trace, delivery }: Pick<Ending, 'trace' | 'delivery'>): RecordHeaders {
  const own = trace?.headers ?? {}
  return Object.keys(own).length > 0 ? own : producersTrace(delivery.record)
}

function pictureRows(picture: PictureOutcome): PictureRow[] {
  if (picture.status !== 'stored') return []
  return picture.variants.map((stored) => ({
    table: 'pictures',
    subject: picture.subject,
    variant: stored.variant,
    key: stored.key,
    sourceUrl: picture.url,
    sha256: picture.sha256,
    width: stored.width,
    height: stored.height,
    bytes: stored.bytes,
    thumbhash: picture.thumbhash,
  }))
}

function goneRow(handle: string): Row {
  return {
    table: 'creators',
    name: '',
    handle,
    biography: '',
    verified: false,
    gone: true,
    flags: [],
    email: '',
    pictureUrl: '',
  }
}
