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
  /** It answers for many ids at once: `getMany` may be used, and jobs that wait at the same time share its calls. */
  readonly batch?: Batching
}

export type Endpoints = Readonly<Record<string, Endpoint>>

/**
 * How an endpoint is asked for many ids, and where they stand in its reply. `items` and `id` are names of fields, nested ones joined
 * by dots (`data.users`); a reply of another shape is brought into this one by a `transform` of the endpoint's schema.
 */
export interface Batching {
  /** The parameter of the query that takes the ids, joined by commas. */
  readonly query: string
  /** The most ids of one call. */
  readonly max: number
  /** The list in a reply, as the schema gives it; in any order, without those that were not found. */
  readonly items: string
  /** In an item, its id as it was asked for: a text or a number. */
  readonly id: string
}

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

/** Names of the endpoints that answer for many ids at once. */
export type BatchedOf<E extends Endpoints> = {
  [K in keyof E & string]: E[K] extends { readonly batch: Batching } ? K : never
}[keyof E & string]

/** One item of a batched endpoint's reply; `never` when its `batch.items` names no list. */
export type ItemOf<E extends Endpoints, K extends keyof E> = E[K] extends {
  readonly batch: { readonly items: infer Path extends string }
}
  ? At<ResponseOf<E, K>, Path> extends infer List
    ? NonNullable<List> extends readonly (infer Item)[]
      ? Item
      : never
    : never
  : never

/** What stands in `T` at a path of names joined by dots. */
type At<T, Path extends string> = Path extends keyof T
  ? T[Path]
  : Path extends `${infer Head}.${infer Rest}`
    ? Head extends keyof T
      ? At<NonNullable<T[Head]>, Rest>
      : never
    : never

/** What an adapter's code may use. Each call waits for its permit, retries nothing by itself, and returns checked data. */
export interface CallContext<E extends Endpoints = Endpoints> {
  /** Throws AttemptError when the call did not succeed; let it pass through. */
  get<K extends keyof E & string>(endpoint: K, options?: CallOptions): Promise<ResponseOf<E, K>>
  /**
   * Asks an endpoint that has `batch` for many ids, as few calls as that takes, one after the other. Jobs that ask it at the same time,
   * with otherwise the same options, share calls until these have their permits: nobody waits longer for that. Resolves with what was
   * found, by id, in the order asked; who is not found is missing. Other jobs may have been given the same items: leave them as they
   * are. Throws as `get` does; `invalid_params` for an id that is empty or has a comma in it.
   */
  getMany<K extends BatchedOf<E>>(
    endpoint: K,
    ids: readonly string[],
    options?: CallOptions,
  ): Promise<ReadonlyMap<string, ItemOf<E, K>>>
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
  /**
   * Calls of one job by endpoint, as a rule; for planning. Retries and calls for the authorisation are not among them. A call that jobs
   * may share counts as if each made its own: how many share one depends on what waits, so this is the most they need.
   */
  readonly calls?: Readonly<Record<string, number>>
  run(job: TypedJob<z.output<Params>>, context: CallContext<E>): Promise<Harvest>
}

/** What a platform's file says of it beside its jobs. */
export interface PlatformFacts<E extends Endpoints, C extends z.ZodType> {
  /** Lower-case, as jobs name it in `platform`. */
  readonly name: string
  /** Scheme and host of its API, and a path prefix where it has one; `platforms.<name>.origin` overrides it. */
  readonly origin: string
  /** Which API this was written against, and which version. */
  readonly version?: string
  /** What the user has to configure under `platforms.<name>.credentials`. */
  readonly credentials: C
  readonly endpoints: E
  /** Normalises and checks `creator_id`; throws an Error with one sentence when it cannot be one. Default: as it is. */
  readonly creatorId?: (id: string) => string
  /** What every call needs; asked before the first call, ahead of its expiry, and after `unauthorized`. */
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
}

/** A platform, as those who run it know it. See docs/guides/platform.md and platforms/define. */
export interface Platform<E extends Endpoints = Endpoints, C extends z.ZodType = z.ZodType>
  extends PlatformFacts<E, C> {
  // The params of each job type differ; a heterogeneous record can only be held with the widest parameter type.
  readonly jobs: Readonly<Record<string, JobType<z.ZodType, E>>>
}
