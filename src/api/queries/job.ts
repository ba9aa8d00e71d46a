import type { Engine } from '../../timeseries/engine.ts'
import { type AskOptions, ask, BY_PARTITION } from './ask.ts'
import { momentOf } from './moment.ts'

/** How a job ended, by the table of jobs, or null when it is not in there. */
export async function endedJob(engine: Engine, jobId: string, options: AskOptions) {
  const [row] = await ask<{
    platform: string
    creator_id: string
    job_type: string
    status: 'done' | 'dead'
    reason: string
    attempts: number
    ts_ms: number | string
    finished_ms: number | string
  }>(
    engine,
    {
      sql: `SELECT platform, creator_id, job_type, status, reason, attempts, toUnixTimestamp64Milli(ts) AS ts_ms,
  toUnixTimestamp64Milli(observed_at) AS finished_ms
FROM jobs FINAL WHERE job_id = {job_id:String} ORDER BY observed_at DESC LIMIT 1`,
      params: { job_id: jobId },
    },
    options,
    BY_PARTITION,
  )
  if (row === undefined) return null
  const { ts_ms, finished_ms, reason, ...rest } = row
  return {
    ...rest,
    reason: reason === '' ? null : reason,
    requested_at: momentOf(ts_ms) ?? '',
    finished_at: momentOf(finished_ms),
  }
}
