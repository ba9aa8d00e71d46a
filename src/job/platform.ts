import type { z } from 'zod'
import type { Job } from './job.ts'
import type { Harvest } from './outcome.ts'
import type { Advice } from './permit.ts'
import type { Reason } from './reason.ts'

/** One kind of call that a platform offers; the unit that permits are for. */
export interface Endpoint<Response extends z.ZodType = z.ZodType> {
  /** Below the platform's origin. `:name` parts are filled from `path` of the call. */
  readonly path: string
  readonly method?: 'GET' | 'POST'
  /** Units of a quota that one call costs. Default 1. */
  readonly cost?: number
  readonly response: Response
  /** False for the call that fetches the authorisation itself. Default true. */
  readonly authorised?: boolean
}

export type Endpoints = Readonly<Record<string, Endpoint>>

/** A reply as adapters judge it. */
export interface JsonReply {
  readonly endpoint: string
  readonly status: number
  /** Names in lower case, values joined by `, `. */
  readonly headers: Readonly<Record<string, string>>
  /** Undefined when the body is not JSON. */
  readonly json: unknown
}

/** "Slow down", as a platform says it. */
export interface Throttle {
  readonly reason: 'rate_limited' | 'quota_exhausted'
  readonly message: string
  /** What the upstream asked for; undefined when it did not say. */
  readonly retryAfterMs?: number
  /** Whose limit it is: this endpoint's, that of the credential that the call was made with, or the platform's for all of ours. */
  readonly scope: 'endpoint' | 'credential' | 'platform'
}

/** A refusal that is no throttle: which reason it is, in one sentence. */
export interface Refusal {
  readonly reason: Reason
  readonly message: string
}

/** What has to be added to every call so that the platform accepts it. */
export interface Authorisation {
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  /** For `:name` parts of paths that a call does not fill itself, such as an account id among the credentials. */
  readonly path?: Readonly<Record<string, string>>
  /** For how long it is good from now; undefined: until refused. Renewed ahead of its end. */
  readonly expiresInMs?: number
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly path?: Readonly<Record<string, string>>
  /** Sent as JSON; with `form`, as application/x-www-form-urlencoded. */
  readonly json?: unknown
  readonly form?: Readonly<Record<string, string>>
}

export type ResponseOf<E extends Endpoints, K extends keyof E> = z.output<E[K]['response']>

/** What an adapter's code may use. Each call waits for its permit, retries nothing by itself, and returns checked data. */
export interface CallContext<E extends Endpoints = Endpoints> {
  /** Throws AttemptError when the call did not succeed; let it pass through. */
  get<K extends keyof E & string>(endpoint: K, options?: CallOptions): Promise<ResponseOf<E, K>>
  /**
   * Pages of a call, each under a permit of its own. `next` reads the following page's options from a page, or from the headers that
   * it came with (`linkQuery` reads `Link`), or undefined at the end. Stops at `pagesMax` (default 50) and at options that repeat.
   */
  paginate<K extends keyof E & string>(
    endpoint: K,
    options: CallOptions,
    next: (page: ResponseOf<E, K>, headers: JsonReply['headers']) => CallOptions | undefined,
    limits?: { pagesMax?: number },
  ): AsyncGenerator<ResponseOf<E, K>>
  /** Aborted when the daemon gives the job up (drain, lost partition, expiry). */
  readonly signal: AbortSignal
  /** Unix ms. */
  now(): number
}

export type TypedJob<Params> = Omit<Job, 'params'> & { readonly params: Params }

export interface JobType<Params extends z.ZodType = z.ZodType, E extends Endpoints = Endpoints> {
  /** Checks `params`; an issue makes the job a dead letter, `invalid_params`. */
  readonly params: Params
  /** Calls of one job by endpoint, as a rule; for planning. Retries and calls for the authorisation are not among them. */
  readonly calls?: Readonly<Record<string, number>>
  run(job: TypedJob<z.output<Params>>, context: CallContext<E>): Promise<Harvest>
}

/** A platform, as one file defines it. See docs/guides/platform.md and platforms/define. */
export interface Platform<E extends Endpoints = Endpoints, C extends z.ZodType = z.ZodType> {
  readonly name: string
  /** Scheme and host of its API; `platforms.<name>.origin` overrides it. */
  readonly origin: string
  /** Which API this was written against, and which version. */
  readonly version?: string
  readonly credentials: C
  readonly endpoints: E
  /** Normalises and checks `creator_id`; throws an Error with one sentence when it cannot be one. Default: as it is. */
  readonly creatorId?: (id: string) => string
  readonly authorise?: (
    credentials: z.output<C>,
    context: Pick<CallContext<E>, 'get' | 'now'>,
  ) => Promise<Authorisation> | Authorisation
  /** "Slow down" beyond status 429, which is always one. */
  readonly throttled?: (reply: JsonReply) => Throttle | undefined
  /** Refusals in the platform's own words, before the status is judged by the usual meaning. */
  readonly refused?: (reply: JsonReply) => Refusal | undefined
  /** What the platform's own headers say about the limits of the credential, on replies that are no refusal. */
  readonly advice?: (reply: JsonReply) => Advice | undefined
  // The params of each job type differ; a heterogeneous record can only be held with the widest parameter type.
  readonly jobs: Readonly<Record<string, JobType<z.ZodType, E>>>
}
