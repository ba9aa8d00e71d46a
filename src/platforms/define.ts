import type { z } from 'zod'
import { MillraceError } from '../job/errors.ts'
import type { Harvest } from '../job/outcome.ts'
import type { CallContext, Endpoints, Platform, PlatformFacts, TypedJob } from '../job/platform.ts'

/** Schemas of `params`, by job type. */
type ParamsByJob = Readonly<Record<string, z.ZodType>>

/** What a platform's file states; see docs/guides/platform.md. */
export interface PlatformDefinition<E extends Endpoints, C extends z.ZodType, J extends ParamsByJob>
  extends PlatformFacts<E, C> {
  readonly jobs: { readonly [K in keyof J]: DefinedJob<E, J[K]> }
}

/** One job type: its `params` schema types what `run` receives. */
export interface DefinedJob<E extends Endpoints, Params extends z.ZodType> {
  /** Checks `params`; an issue makes the job a dead letter, `invalid_params`. */
  readonly params: Params
  /**
   * Calls of one job by endpoint, as a rule, with `params` left at their defaults: what `millrace plan` reckons with. Retries and
   * what `authorise` calls now and then are left out. Calls that jobs may share (`getMany`) count in full: what is planned is enough.
   */
  readonly calls?: { readonly [Endpoint in keyof NoInfer<E> & string]?: number }
  run(job: TypedJob<z.output<Params>>, context: CallContext<E>): Promise<Harvest>
}

/**
 * A definition that has been checked: a `Platform` to those who run it, with the exact types of its endpoints and job types for
 * those who call its `run` by themselves. `authorise` forgets its credentials' type on purpose: whoever holds many platforms can
 * only pass on what the configuration held, after `credentials` has checked it.
 */
export type DefinedPlatform<E extends Endpoints, C extends z.ZodType, J extends ParamsByJob> = Omit<
  Platform,
  'endpoints' | 'credentials' | 'jobs'
> &
  Pick<PlatformDefinition<E, C, J>, 'endpoints' | 'credentials' | 'jobs'>

/**
 * Defines a platform: returns its argument, checked and frozen. Endpoint names and response types flow into `get`, `getMany`
 * and `paginate`; the `params` schema of each job type flows into its `run`. Throws MillraceError `PLATFORM_INVALID` (kind
 * `usage`) that names everything that is wrong.
 */
export function definePlatform<
  const E extends Endpoints,
  C extends z.ZodType,
  J extends Record<string, z.ZodType>,
>(definition: PlatformDefinition<E, C, J>): DefinedPlatform<E, C, J> {
  const problems = problemsOf(definition)
  if (problems.length > 0) {
    throw new MillraceError('PLATFORM_INVALID', `platform ${nameOf(definition)}: ${problems.join('; ')}`, {
      kind: 'usage',
    })
  }
  return Object.freeze(definition) as unknown as DefinedPlatform<E, C, J>
}

const WORD = /^[a-z][a-z0-9_]{0,63}$/
const WORD_MEANT = 'a lower-case word (letters, digits, _; at most 64)'
/** More calls than this for one job are a typing error. */
const CALLS_MAX = 1e6
/** Of one call: so many ids still fit into an address. */
const IDS_MAX = 200

/**
 * Everything that is wrong with a definition, one sentence each; empty when it is one. Takes anything, because a user's module
 * may be JavaScript or may export something else altogether.
 */
export function problemsOf(definition: unknown): string[] {
  if (!isObject(definition)) return [`found ${shown(definition)}, expected what definePlatform(…) returns`]
  const problems: string[] = []
  const { name, origin, credentials, endpoints, jobs } = definition
  if (typeof name !== 'string' || !WORD.test(name)) {
    problems.push(`name ${shown(name)}: expected ${WORD_MEANT}`)
  }
  const url = typeof origin === 'string' && URL.canParse(origin) ? new URL(origin) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    problems.push(`origin ${shown(origin)}: expected http(s)://host, without query`)
  }
  if (!isSchema(credentials)) {
    problems.push('credentials: expected a zod schema (z.object({}) when there are none)')
  }
  for (const hook of ['creatorId', 'authorise', 'throttled', 'refused', 'advice'] as const) {
    if (definition[hook] !== undefined && typeof definition[hook] !== 'function') {
      problems.push(`${hook}: found ${shown(definition[hook])}, expected a function`)
    }
  }
  problems.push(...problemsOfEndpoints(endpoints))
  problems.push(...problemsOfJobs(jobs, isObject(endpoints) ? Object.keys(endpoints) : []))
  return problems
}

function problemsOfEndpoints(endpoints: unknown): string[] {
  if (!isObject(endpoints) || Object.keys(endpoints).length === 0) {
    return ['endpoints: expected at least one endpoint']
  }
  return Object.entries(endpoints).flatMap(([name, endpoint]) => {
    const at = `endpoints.${name}`
    if (!WORD.test(name)) return [`${at}: expected ${WORD_MEANT} as its name`]
    if (!isObject(endpoint)) return [`${at}: found ${shown(endpoint)}, expected { path, response }`]
    const problems: string[] = []
    const { path, method, cost, response, batch } = endpoint
    if (typeof path !== 'string' || !path.startsWith('/')) {
      problems.push(`${at}.path ${shown(path)}: expected a path that starts with /`)
    } else if (/[?#\s]/.test(path)) {
      problems.push(`${at}.path ${shown(path)}: expected no query; give it with the call`)
    } else if (/:(?![a-z_]+(?![A-Za-z0-9_]))/.test(path)) {
      problems.push(`${at}.path ${shown(path)}: expected parts named in a-z and _ only, such as :user_id`)
    }
    if (method !== undefined && method !== 'GET' && method !== 'POST') {
      problems.push(`${at}.method ${shown(method)}: expected GET or POST`)
    }
    if (cost !== undefined && !(Number.isInteger(cost) && (cost as number) >= 1)) {
      problems.push(`${at}.cost ${shown(cost)}: expected a whole number of units, 1 or more`)
    }
    if (!isSchema(response)) problems.push(`${at}.response: expected a zod schema of the reply`)
    if (batch !== undefined) problems.push(...problemsOfBatch(batch, `${at}.batch`))
    return problems
  })
}

function problemsOfBatch(batch: unknown, at: string): string[] {
  if (!isObject(batch)) return [`${at}: found ${shown(batch)}, expected { query, max, items, id }`]
  const { max } = batch
  const isCount = Number.isInteger(max) && (max as number) >= 2 && (max as number) <= IDS_MAX
  const names = {
    query: 'the parameter that takes the ids',
    items: 'the list in a reply',
    id: "an item's id",
  }
  return [
    ...(isCount ? [] : [`${at}.max ${shown(max)}: expected the most ids of one call, 2 to ${IDS_MAX}`]),
    ...Object.entries(names).flatMap(([key, meant]) => {
      const name = batch[key]
      const isName = typeof name === 'string' && name !== ''
      return isName ? [] : [`${at}.${key} ${shown(name)}: expected the name of ${meant}`]
    }),
  ]
}

function problemsOfJobs(jobs: unknown, endpoints: readonly string[]): string[] {
  if (!isObject(jobs) || Object.keys(jobs).length === 0) return ['jobs: expected at least one job type']
  return Object.entries(jobs).flatMap(([name, job]) => {
    const at = `jobs.${name}`
    if (!WORD.test(name)) return [`${at}: expected ${WORD_MEANT} as its name`]
    if (!isObject(job)) return [`${at}: found ${shown(job)}, expected { params, run }`]
    const problems: string[] = []
    if (!isSchema(job.params))
      problems.push(`${at}.params: expected a zod schema (z.object({}) when there are none)`)
    if (typeof job.run !== 'function')
      problems.push(`${at}.run: found ${shown(job.run)}, expected a function`)
    if (job.calls !== undefined) problems.push(...problemsOfCalls(job.calls, `${at}.calls`, endpoints))
    return problems
  })
}

function problemsOfCalls(calls: unknown, at: string, endpoints: readonly string[]): string[] {
  if (!isObject(calls) || Object.keys(calls).length === 0) {
    return [`${at}: found ${shown(calls)}, expected the number of calls by endpoint`]
  }
  return Object.entries(calls).flatMap(([endpoint, count]) => {
    if (!endpoints.includes(endpoint)) {
      return [`${at}.${endpoint}: no such endpoint; expected one of ${endpoints.join(', ')}`]
    }
    const isCount = typeof count === 'number' && count > 0 && count <= CALLS_MAX
    return isCount ? [] : [`${at}.${endpoint} ${shown(count)}: expected a number above 0, to ${CALLS_MAX}`]
  })
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** By shape, not by class: a user's module may bring a zod of its own. */
function isSchema(value: unknown): boolean {
  return isObject(value) && typeof value.safeParse === 'function'
}

function nameOf(definition: unknown): string {
  return isObject(definition) && typeof definition.name === 'string' ? definition.name : '(without a name)'
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'function') return 'a function'
  return (JSON.stringify(value) ?? typeof value).slice(0, 80)
}
