import type { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { LeasedLimiter, type Taken } from './leased-limiter.ts'
import { ApiProblem } from './problem.ts'

export interface FairnessOptions {
  /** Of one client on one route in a window. */
  readonly requestsMax: number
  /** Jobs that one client asks for in a window. */
  readonly jobsMax: number
  readonly windowMs: number
  /** Queries of one client at a time. */
  readonly queriesMax: number
}

/** Where all processes count together; a cluster is no client that the library's script works on as it is. */
export interface SharedCounts {
  readonly client: Redis
  readonly keyPrefix: string
}

/** Exports at a time. Each holds one of ten connections to the database for as long as its client takes. */
const EXPORTS_MAX = { ofClient: 2, all: 5 }

/**
 * Nobody takes what is everybody's: requests of a client on a route, jobs it asks for, and queries it has running. The first two are
 * counted in Redis for all processes together; while that is away, in the memory of each.
 */
export class Fairness {
  readonly #options: FairnessOptions
  readonly #takeRequest: (key: string) => Promise<Taken>
  readonly #jobs: RateLimiterMemory | RateLimiterRedis
  readonly #running = new Map<string, number>()
  readonly #exporting: string[] = []

  constructor(options: FairnessOptions, shared?: SharedCounts) {
    this.#options = options
    const requests = limiter('requests', options.requestsMax, options.windowMs, shared)
    const leased =
      requests instanceof RateLimiterRedis ? new LeasedLimiter(requests, options.requestsMax) : undefined
    this.#takeRequest = (key) => leased?.take(key) ?? consume(requests, key, 1)
    this.#jobs = limiter('jobs', options.jobsMax, options.windowMs, shared)
  }

  /** Counts a request. Resolves with the `RateLimit` fields; rejects with ApiProblem `rate_limited`, which brings them too. */
  async request(client: string, route: string): Promise<Record<string, string>> {
    const taken = this.#takeRequest(`${client} ${route}`)
    return await this.#fieldsOf(taken, this.#options.requestsMax, 'requests')
  }

  /** Counts jobs that are asked for; all or none of them are let through. */
  async jobs(client: string, count: number): Promise<void> {
    await this.#fieldsOf(consume(this.#jobs, client, count), this.#options.jobsMax, 'jobs')
  }

  /** Takes a place among the client's running queries; call what it returns to give it back. Throws `too_many_queries`. */
  enter(client: string): () => void {
    const running = this.#running.get(client) ?? 0
    if (running >= this.#options.queriesMax) {
      throw new ApiProblem(
        'too_many_queries',
        `You have ${running} queries running, which is as many as one client may; wait for one of them.`,
        { headers: { 'retry-after': '1' } },
      )
    }
    this.#running.set(client, running + 1)
    let left = false
    return () => {
      if (left) return
      left = true
      const now = (this.#running.get(client) ?? 1) - 1
      if (now === 0) this.#running.delete(client)
      else this.#running.set(client, now)
    }
  }

  /** The same for an export. Throws `too_many_queries`, or `unavailable` when it is others who have them all. */
  enterExport(client: string): () => void {
    const retry = { headers: { 'retry-after': '10' } }
    if (this.#exporting.filter((one) => one === client).length >= EXPORTS_MAX.ofClient) {
      const detail = `You have ${EXPORTS_MAX.ofClient} exports running, as many as one client may; wait for one of them.`
      throw new ApiProblem('too_many_queries', detail, retry)
    }
    if (this.#exporting.length >= EXPORTS_MAX.all)
      throw new ApiProblem('unavailable', 'As many exports run as may; come again in a while.', retry)
    const leave = this.enter(client)
    this.#exporting.push(client)
    let left = false
    return () => {
      if (left) return
      left = true
      leave()
      this.#exporting.splice(this.#exporting.indexOf(client), 1)
    }
  }

  async #fieldsOf(taken: Promise<Taken>, max: number, what: string): Promise<Record<string, string>> {
    const windowS = Math.ceil(this.#options.windowMs / 1000)
    const fields = (left: number, resetMs: number) => ({
      // draft-ietf-httpapi-ratelimit-headers: what is left, and in how many seconds it is all back.
      'ratelimit-policy': `"${what}";q=${max};w=${windowS}`,
      ratelimit: `"${what}";r=${Math.max(0, left)};t=${Math.ceil(resetMs / 1000)}`,
    })
    try {
      const { left, resetMs } = await taken
      return fields(left, resetMs)
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal
      const { msBeforeNext } = refusal
      const waitS = Math.max(1, Math.ceil(msBeforeNext / 1000))
      throw new ApiProblem('rate_limited', `More than ${max} ${what} in ${windowS} s; wait ${waitS} s.`, {
        headers: { ...fields(0, msBeforeNext), 'retry-after': String(waitS) },
      })
    }
  }
}

async function consume(
  of: RateLimiterMemory | RateLimiterRedis,
  key: string,
  points: number,
): Promise<Taken> {
  const { remainingPoints, msBeforeNext } = await of.consume(key, points)
  return { left: remainingPoints, resetMs: msBeforeNext }
}

function limiter(
  name: string,
  points: number,
  windowMs: number,
  shared: SharedCounts | undefined,
): RateLimiterMemory | RateLimiterRedis {
  const options = { points, duration: Math.ceil(windowMs / 1000), keyPrefix: `api:${name}` }
  const memory = new RateLimiterMemory(options)
  if (shared === undefined) return memory
  return new RateLimiterRedis({
    ...options,
    keyPrefix: `${shared.keyPrefix}:${options.keyPrefix}`,
    storeClient: shared.client,
    rejectIfRedisNotReady: true,
    insuranceLimiter: memory,
    // Who is over the limit is told so without asking Redis again.
    inMemoryBlockOnConsumed: points,
  })
}
