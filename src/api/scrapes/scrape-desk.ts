import { randomUUID } from 'node:crypto'
import { messageOf } from '../../job/errors.ts'
import { describeIssues, type JobMessage, jobSchema } from '../../job/job.ts'
import type { ResultMessage } from '../../job/outcome.ts'
import type { Engine } from '../../timeseries/engine.ts'
import { ApiProblem } from '../problem.ts'
import { endedJob } from '../queries/job.ts'
import { begunNoteOf, digestOf, JOB_KEPT_MS, noteOf } from './job-note.ts'
import type { Notes } from './notes.ts'

/** One job as a caller asks for it. */
export type ScrapeRequest = Pick<JobMessage, 'platform' | 'creator_id' | 'job_type'> &
  Partial<Pick<JobMessage, 'priority' | 'job_id' | 'expires_at' | 'params'>>

export interface ScrapeState {
  readonly job_id: string
  readonly state: 'queued' | 'running' | 'done' | 'skipped' | 'dead'
  readonly platform: string
  readonly creator_id: string
  readonly job_type: string
  readonly reason: string | null
  readonly attempts: number
  readonly requested_at: string
  readonly finished_at: string | null
}

export interface ScrapeDeskPorts {
  readonly notes: Notes
  readonly engine: Engine
  /** Resolves when all are acknowledged; rejects when `signal` is aborted before. */
  readonly publish: (jobs: readonly JobMessage[], signal: AbortSignal) => Promise<void>
  /** Why no daemon could do the job, or null. */
  readonly objection: (job: ScrapeRequest) => string | null
}

const KEY_KEPT_MS = 24 * 3_600_000
const PUBLISH_MS_MAX = 10_000
/** Who has claimed a key and not said so by then is gone. */
const CLAIM_MS = 3 * PUBLISH_MS_MAX

interface Claim {
  /** Of the body. */
  readonly digest: string
  readonly requestedAt: string
  readonly state: 'pending' | 'failed' | 'done'
  readonly atMs: number
}

/**
 * Takes in what is to be scraped, and knows what has become of it. The same Idempotency-Key of the same client asks for the
 * same jobs, with the same ids and the same logical time, however often it is sent: even where a process died between
 * publishing and saying so, the daemon recognises them by that.
 */
export class ScrapeDesk {
  readonly #ports: ScrapeDeskPorts

  constructor(ports: ScrapeDeskPorts) {
    this.#ports = ports
  }

  /**
   * Resolves with the ids, in order, once the jobs are acknowledged. Rejects with ApiProblem: `job_refused`,
   * `idempotency_in_progress`, `idempotency_mismatch`, `unavailable`.
   */
  async take(
    client: string,
    requests: readonly ScrapeRequest[],
    key?: string,
  ): Promise<{ readonly jobIds: readonly string[]; readonly repeated: boolean }> {
    this.#check(requests)
    const base = key === undefined ? randomUUID() : digestOf([client, key]).slice(0, 32)
    const jobIds = requests.map((request, index) => request.job_id ?? `api-${base}-${index}`)
    if (key === undefined) {
      await this.#publish(requests, jobIds, new Date().toISOString())
      return { jobIds, repeated: false }
    }
    const name = `key:${digestOf([client, key])}`
    const ours: Claim = {
      digest: digestOf(requests),
      requestedAt: new Date().toISOString(),
      state: 'pending',
      atMs: Date.now(),
    }
    const claim = await this.#claim(name, ours)
    if (claim.state === 'done') return { jobIds, repeated: true }
    try {
      await this.#publish(requests, jobIds, claim.requestedAt)
    } catch (error) {
      await this.#ports.notes
        .set(name, JSON.stringify({ ...claim, state: 'failed' }), KEY_KEPT_MS)
        .catch(() => {})
      throw error
    }
    await this.#ports.notes
      .set(name, JSON.stringify({ ...claim, state: 'done' }), KEY_KEPT_MS)
      .catch(() => {})
    return { jobIds, repeated: false }
  }

  /** What has become of a job; null when nothing is known of it. */
  async state(
    jobId: string,
    options: { signal: AbortSignal; timeoutMs: number },
  ): Promise<ScrapeState | null> {
    const { notes, engine } = this.#ports
    let away: unknown
    const note = await notes.get(noteOf(jobId)).catch((error: unknown) => {
      away = error
      return null
    })
    const noted = note === null ? null : (JSON.parse(note) as ScrapeState)
    if (noted !== null && noted.state !== 'queued') return noted
    const ended = await endedJob(engine, jobId, options)
    // The same id was another job's before: of another logical time, so it is done anew.
    const isEarlier = noted !== null && (ended?.requested_at ?? '') < noted.requested_at
    if (ended !== null && !isEarlier) {
      const { status, ...rest } = ended
      return { job_id: jobId, state: status, ...rest }
    }
    if (noted === null && away !== undefined) throw away
    if (noted === null) return null
    const begun = await notes.get(begunNoteOf(jobId)).catch(() => null)
    return begun === null || begun === '' ? noted : { ...noted, state: 'running' }
  }

  /** A job has ended: if it was asked for here, it is noted how. */
  async ended(result: ResultMessage): Promise<void> {
    const { job_id, platform, creator_id, job_type, status, reason, attempts, started_at, finished_at } =
      result
    const state: ScrapeState = {
      ...{ job_id, platform, creator_id, job_type, reason, attempts, finished_at },
      state: status,
      requested_at: started_at,
    }
    const { notes } = this.#ports
    const before = await notes.get(noteOf(job_id))
    if (before === null) return
    const { requested_at } = JSON.parse(before) as ScrapeState
    await notes.replace(noteOf(job_id), JSON.stringify({ ...state, requested_at }), JOB_KEPT_MS)
  }

  #check(requests: readonly ScrapeRequest[]): void {
    const errors = requests.flatMap((request, index) => {
      const parsed = jobSchema.safeParse(request)
      const message = parsed.success ? this.#ports.objection(request) : describeIssues(parsed.error)
      return message === null ? [] : [{ path: `jobs.${index}`, message }]
    })
    const ids = requests.flatMap(({ job_id }) => job_id ?? [])
    if (new Set(ids).size !== ids.length)
      errors.push({ path: 'jobs', message: 'two jobs have the same job_id' })
    if (errors.length === 0) return
    const [first] = errors
    const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`
    throw new ApiProblem('job_refused', `${first!.path}: ${first!.message}${more}`, {
      errors: errors.slice(0, 20),
    })
  }

  /** The claim under which to publish, or one that is done. Throws when somebody else is at it. */
  async #claim(name: string, ours: Claim): Promise<Claim> {
    const there = await this.#ports.notes.add(name, JSON.stringify(ours), KEY_KEPT_MS)
    if (there === null) return ours
    const standing = JSON.parse(there) as Claim
    if (standing.digest !== ours.digest) {
      throw new ApiProblem(
        'idempotency_mismatch',
        'The Idempotency-Key came with another body before; use a new one for a new request.',
      )
    }
    if (standing.state !== 'pending') return standing
    if (Date.now() - standing.atMs < CLAIM_MS) {
      throw new ApiProblem(
        'idempotency_in_progress',
        'The same request is under way; send it again in a moment.',
        {
          headers: { 'retry-after': '2' },
        },
      )
    }
    return standing
  }

  async #publish(
    requests: readonly ScrapeRequest[],
    jobIds: readonly string[],
    requestedAt: string,
  ): Promise<void> {
    const jobs = requests.map((request, index) => ({
      ...request,
      job_id: jobIds[index]!,
      requested_at: requestedAt,
    }))
    // Before they are published: their results may be there at once.
    await Promise.all(
      jobs.map(({ job_id, platform, creator_id, job_type }) => {
        const state: ScrapeState = {
          ...{ job_id, platform, creator_id, job_type },
          ...{ state: 'queued', reason: null, attempts: 0, requested_at: requestedAt, finished_at: null },
        }
        return this.#ports.notes.set(noteOf(job_id), JSON.stringify(state), JOB_KEPT_MS)
      }),
    ).catch(() => {
      // Then the table will tell how they ended, and until then nobody.
    })
    try {
      await this.#ports.publish(jobs, AbortSignal.timeout(PUBLISH_MS_MAX))
    } catch (cause) {
      throw new ApiProblem(
        'unavailable',
        'Jobs cannot be taken in for the moment; send the request again later.',
        {
          cause: messageOf(cause),
          headers: { 'retry-after': '10' },
        },
      )
    }
  }
}
