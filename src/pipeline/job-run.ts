import { AttemptError, messageOf } from '../job/errors.ts'
import { describeIssues, type Job } from '../job/job.ts'
import { type Marks, markOf } from '../job/mark.ts'
import type { Outcome } from '../job/outcome.ts'
import type { CallContext, CallOptions } from '../job/platform.ts'
import type { Log } from '../telemetry/log.ts'
import type { Errand } from './errand.ts'
import { DismissedError, InTheWayError } from './permit-desk.ts'
import { judge, type RetryPolicy } from './retry-policy.ts'
import { JudgedError, type Upstream } from './upstream.ts'

const PAGES_MAX = 50

/** A run that was given up because the daemon drains or the partition was lost: no outcome, the job is delivered again. */
export const ABANDONED = Symbol('abandoned')

/** A run that was given up because the job is in the way of others: no outcome, it is to be parked. */
export const IN_THE_WAY = Symbol('in the way')

/**
 * Runs a job's adapter and says how it ended. Expected failures are outcomes; nothing is thrown. `errand.tally` counts on
 * from earlier deliveries.
 */
export async function runJob(
  job: Job,
  upstream: Upstream | undefined,
  errand: Errand,
  ports: { retry: RetryPolicy; marks: Marks; log: Log },
): Promise<Outcome | typeof ABANDONED | typeof IN_THE_WAY> {
  const { retry, marks, log } = ports
  if (upstream === undefined)
    return dead('unknown_platform', `no platform is named ${JSON.stringify(job.platform)}`)
  const { platform } = upstream
  const type = Object.hasOwn(platform.jobs, job.type) ? platform.jobs[job.type] : undefined
  if (type === undefined) {
    const offered = Object.keys(platform.jobs).join(', ')
    return dead(
      'unknown_job_type',
      `${platform.name} has no job type ${JSON.stringify(job.type)}, it offers ${offered}`,
    )
  }
  if (job.expiresAtMs <= Date.now()) {
    return dead('expired', `expires_at was ${new Date(job.expiresAtMs).toISOString()}`)
  }
  const params = type.params.safeParse(job.params)
  if (!params.success) return dead('invalid_params', `params: ${describeIssues(params.error)}`)
  try {
    errand.creatorId = platform.creatorId?.(job.creatorId) ?? job.creatorId
  } catch (error) {
    return dead('invalid_params', `creator_id: ${messageOf(error)}`)
  }

  try {
    if (upstream.minIntervalMs(job.type) > 0) {
      const scraped = { platform: platform.name, creatorId: errand.creatorId, jobType: job.type }
      const by = await marks.scrapedBy(scraped, errand.signal)
      // Its own mark tells of a delivery before this one, that stored its rows and came no further.
      if (by !== null && by !== markOf(job)) return { status: 'skipped', reason: 'fresh' }
    }
    const typed = { ...job, creatorId: errand.creatorId, params: params.data }
    const harvest = await type.run(typed, contextOf(upstream, errand))
    return { status: 'done', harvest, observedAtMs: errand.observedAtMs }
  } catch (error) {
    if (errand.signal.aborted || error instanceof DismissedError) return ABANDONED
    if (error instanceof InTheWayError) return IN_THE_WAY
    if (error instanceof AttemptError) return outcomeOf(error, errand, retry)
    log.error(
      { err: error, job_id: job.id, platform: platform.name, job_type: job.type },
      'an adapter failed',
    )
    return dead('internal', messageOf(error))
  }
}

/** A call's error has been judged already; one that the adapter itself threw is judged here. */
function outcomeOf(error: AttemptError, errand: Errand, retry: RetryPolicy): Outcome {
  const { reason } = error
  const message = messageOf(error)
  const verdict =
    error instanceof JudgedError ? error.verdict : judge(error, errand.tally, retry, Math.random)
  if (verdict.next !== 'dead') return { status: 'retry', reason, message, delayMs: verdict.delayMs }
  // Put off over and over without ever failing by itself: the reasons of its retries tell the rest.
  const given = reason === 'rate_limited' ? 'attempts_exhausted' : reason
  return { ...dead(given, message), observedAtMs: errand.observedAtMs }
}

function dead(
  reason: (Outcome & { status: 'dead' })['reason'],
  message: string,
): Outcome & { status: 'dead' } {
  return { status: 'dead', reason, message }
}

/** The adapter's view of the world. */
function contextOf(upstream: Upstream, errand: Errand): CallContext {
  const get = (endpoint: string, options?: CallOptions) =>
    upstream.call(errand, endpoint, options).then(({ data }) => data)
  return {
    // definePlatform has tied each endpoint's name to its response's type; here all of them pass through one door.
    get: get as CallContext['get'],
    async *paginate(endpoint, options, next, limits) {
      const seen = new Set<string>()
      let turn: CallOptions | undefined = options
      for (let page = 0; turn !== undefined && page < (limits?.pagesMax ?? PAGES_MAX); page++) {
        // A cursor that repeats would go round for ever.
        const mark = JSON.stringify(turn)
        if (seen.has(mark)) return
        seen.add(mark)
        const { data, headers } = await upstream.call(errand, endpoint, turn)
        const reply = data as Parameters<typeof next>[0]
        yield reply
        turn = next(reply, headers)
      }
    },
    signal: errand.signal,
    now: Date.now,
  }
}
