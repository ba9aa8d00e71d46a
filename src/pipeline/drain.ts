import type { Log } from '../telemetry/log.ts'
import type { Pipeline } from './pipeline.ts'

/** Share of the drain's deadline after which attempts that are still under way are given up. */
const ATTEMPTS_SHARE = 0.75

/** Lets attempts end until ¾ of the deadline and completions until the whole of it; what is left is delivered again. */
export async function drain(
  intake: { drain(signal: AbortSignal): Promise<number>; readonly inFlight: number },
  pipeline: Pipeline,
  deadlineMs: number,
  log: Log,
): Promise<void> {
  const attemptsEnd = setTimeout(() => pipeline.abandonAttempts(), deadlineMs * ATTEMPTS_SHARE)
  const deadline = AbortSignal.timeout(deadlineMs)
  const drained = new AbortController()
  // Abandoned attempts never settle: once nothing is being worked on, waiting longer changes nothing.
  const watch = setInterval(() => {
    if (pipeline.inFlight === 0) drained.abort()
  }, 20)
  try {
    const open = await intake.drain(AbortSignal.any([deadline, drained.signal]))
    if (open > 0) log.warn({ jobs: open }, 'jobs were given up; they will be delivered again')
  } finally {
    clearTimeout(attemptsEnd)
    clearInterval(watch)
    pipeline.abandon()
  }
}
