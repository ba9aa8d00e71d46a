import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import type { JobType, Platform } from '../job/platform.ts'
import { capacityOf, type PlannedCall } from '../limiter/capacity.ts'
import { planOf } from '../parts/limits.ts'
import { platformsOf } from '../parts/platforms.ts'
import { EXIT } from './exit.ts'
import { footnotes, type Plan, planReport, planTable } from './plan-text.ts'
import type { Terminal } from './terminal.ts'

export interface PlanOptions {
  /** On each platform. */
  readonly creators: number
  readonly everyMs: number
  /** Default: all that are configured. */
  readonly platforms?: readonly string[]
  /** Default: `full_profile_scrape`, or the first job type of a platform that has none. */
  readonly jobType?: string
  readonly json: boolean
}

const DEFAULT_JOB = 'full_profile_scrape'

/** A platform and the job that is planned for it. */
interface Chosen {
  readonly platform: Platform
  readonly jobType: string
  /** By endpoint; undefined when the job type does not declare them. */
  readonly calls: JobType['calls']
}

/**
 * `millrace plan`: how long creators take under the configured limits, and which level decides. Asks nobody: it is arithmetic on the
 * configuration. Exit code 0 when everything fits, 1 when something does not or cannot be told.
 */
export async function plan(config: Config, options: PlanOptions, terminal: Terminal): Promise<number> {
  const platforms = (await platformsOf(config, process.cwd())).map(({ platform }) => platform)
  const { chosen, without } = choose(platforms, options)
  const limits = planOf(config)
  const { creators, everyMs } = options
  const latencyMs = config.limits.latency
  const capacities = capacityOf(limits, latencyMs, {
    creators,
    periodMs: everyMs,
    calls: chosen.flatMap(callsOf),
  })
  const plans = chosen.map(({ platform: { name, endpoints }, jobType, calls = {} }): Plan => {
    const shared = Object.keys(calls).filter((endpoint) => endpoints[endpoint]?.batch !== undefined)
    const capacity = capacities.find(({ platform }) => platform === name)
    return { platform: name, jobType, calls, shared, creators, everyMs, latencyMs, limits, capacity }
  })

  if (options.json) {
    for (const one of plans) terminal.stdout.write(`${JSON.stringify(planReport(one))}\n`)
  } else {
    const parts = plans.map(planTable)
    if (without.length > 0)
      parts.push(`left out, for they have no job type ${options.jobType}: ${without.join(', ')}`)
    parts.push(footnotes(plans, config.limits.share))
    terminal.stdout.write(`${parts.join('\n\n')}\n`)
  }
  return plans.every(({ capacity }) => capacity?.fits === true) ? EXIT.done : EXIT.failed
}

function callsOf({ platform, calls = {} }: Chosen): PlannedCall[] {
  return Object.entries(calls).map(([endpoint, count]) => ({
    platform: platform.name,
    endpoint,
    cost: platform.endpoints[endpoint]?.cost ?? 1,
    calls: count,
  }))
}

/** Throws MillraceError of kind `usage` for names that are none, and when nothing is left to plan. */
function choose(
  platforms: readonly Platform[],
  { platforms: named, jobType }: PlanOptions,
): { readonly chosen: readonly Chosen[]; readonly without: readonly string[] } {
  const unknown = named?.find((name) => !platforms.some((platform) => platform.name === name))
  if (unknown !== undefined) {
    throw usage(
      `--platform: found ${JSON.stringify(unknown)}, expected one of ${platforms.map(({ name }) => name).join(', ')}`,
    )
  }
  const asked = platforms.filter(({ name }) => named === undefined || named.includes(name))
  const chosen = asked.flatMap((platform): Chosen[] => {
    const type = jobType ?? defaultJobOf(platform)
    const job = Object.hasOwn(platform.jobs, type) ? platform.jobs[type] : undefined
    return job === undefined ? [] : [{ platform, jobType: type, calls: job.calls }]
  })
  const without = asked
    .map(({ name }) => name)
    .filter((name) => !chosen.some((one) => one.platform.name === name))
  // Who names a platform wants an answer about it; without names the question is about those that have such a job.
  if (chosen.length === 0 || (named !== undefined && without.length > 0)) {
    const known = asked.map(({ name, jobs }) => `${name} has ${Object.keys(jobs).join(', ')}`)
    throw usage(`--job: found ${JSON.stringify(jobType)}, expected a job type: ${known.join('; ')}`)
  }
  return { chosen, without }
}

function defaultJobOf({ jobs }: Platform): string {
  return Object.hasOwn(jobs, DEFAULT_JOB) ? DEFAULT_JOB : Object.keys(jobs)[0]!
}

function usage(message: string): MillraceError {
  return new MillraceError('USAGE', `plan: ${message}`, { kind: 'usage' })
}
