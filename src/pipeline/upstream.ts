import { type Credential, MAIN_CREDENTIAL, type TokenShelf } from '../job/credential.ts'
import { AttemptError } from '../job/errors.ts'
import type { Fetcher, Reply } from '../job/fetch.ts'
import type { Limiter, LimitTarget, Permit } from '../job/permit.ts'
import type { Authorisation, CallOptions, Endpoint, JsonReply, Platform } from '../job/platform.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Secrets } from '../telemetry/secrets.ts'
import type { AdviceRelay } from './advice-relay.ts'
import { Batches } from './batches.ts'
import { Credentials } from './credentials.ts'
import type { Errand } from './errand.ts'
import { judgeReply, type ReadReply, type ReplyReader, readReply } from './judge-reply.ts'
import { Pause } from './pause.ts'
import type { PermitDesk } from './permit-desk.ts'
import { requestOf } from './request.ts'
import { judge, type RetryPolicy, type Verdict } from './retry-policy.ts'

export interface UpstreamPorts {
  readonly desk: PermitDesk
  readonly fetcher: Fetcher
  readonly relay: AdviceRelay
  readonly limiter: Pick<Limiter, 'levels'>
  readonly log: Log
  /** Where daemons share the tokens they fetch; undefined where each fetches its own. */
  readonly shelfOf?: ((platform: string, credential: Credential) => TokenShelf) | undefined
  readonly reader: ReplyReader
  /** Told of every token that is fetched. */
  readonly secrets: Secrets
  readonly metrics: Metrics
  readonly retry: RetryPolicy
  /** True for an error that says that a permit came too late to be used: nothing was sent. */
  readonly isLate: (error: unknown) => boolean
}

export interface UpstreamOptions {
  readonly origin: string
  /** Empty when there are none: then calls wait, under the desk's pause, before anything is asked of the adapter. */
  readonly credentials: readonly Credential[]
  /** By job type: for how long a creator counts as scraped, ms. */
  readonly minIntervalsMs: Readonly<Record<string, number>>
}

/** A reply that is what was asked for. */
export interface Answer {
  /** As the endpoint's schema gives it. */
  readonly data: unknown
  readonly headers: JsonReply['headers']
}

/**
 * One platform as jobs reach it: fills in an endpoint's address and authorisation, waits for the permit, sends, judges the
 * reply, tells the limiter what the upstream said, and repeats in place what is worth repeating soon.
 */
export class Upstream {
  readonly platform: Platform
  readonly #origin: string
  readonly #minIntervalsMs: ReadonlyMap<string, number>
  readonly #ports: UpstreamPorts
  readonly #batches: Batches
  /** Whom calls are made as. */
  readonly credentials: Credentials

  constructor(platform: Platform, options: UpstreamOptions, ports: UpstreamPorts) {
    this.platform = platform
    this.#origin = options.origin.replace(/\/+$/, '')
    this.#minIntervalsMs = new Map(Object.entries(options.minIntervalsMs))
    this.#ports = ports
    // Without a call of its own an authorisation is made of the credential, and nothing is worth sharing.
    const fetches = Object.values(platform.endpoints).some(({ authorised }) => authorised === false)
    const { shelfOf } = ports
    this.credentials = new Credentials(
      {
        platform: platform.name,
        given: options.credentials,
        authorise: async (credential, errand) => {
          if (platform.authorise === undefined) return {}
          // The widest type: each platform's own call context is narrower, and definePlatform has checked it.
          const get = async (name: string, call: CallOptions = {}) =>
            (await this.call(errand, name, call, credential.name)).data
          return platform.authorise(credential.value, { get: get as never, now: Date.now })
        },
        shelfOf: fetches && shelfOf ? (credential) => shelfOf(platform.name, credential) : undefined,
      },
      ports,
    )
    this.#batches = new Batches({
      send: (errand, name, call) => this.#once(errand, name, call),
      onSent: (endpoint, ids) => ports.metrics.batch_ids.observe({ platform: platform.name, endpoint }, ids),
    })
  }

  /** For how long a creator counts as scraped by a job of this type, ms; 0: not at all. */
  minIntervalMs(jobType: string): number {
    return this.#minIntervalsMs.get(jobType) ?? 0
  }

  /**
   * Calls an endpoint until it answers, or throws AttemptError when the job has to wait longer or is given up. `credential` is the
   * one that the call has to be made with; without it the one with most room is taken.
   */
  call(errand: Errand, name: string, options: CallOptions = {}, credential?: string): Promise<Answer> {
    return this.#untilDone(errand, () => this.#once(errand, name, options, credential))
  }

  /**
   * Asks a batched endpoint for ids, in calls that other jobs may share, and resolves with what was found, in the order asked. Throws
   * as `call` does.
   */
  async getMany(
    errand: Errand,
    name: string,
    ids: readonly string[],
    options: CallOptions = {},
  ): Promise<ReadonlyMap<string, unknown>> {
    const batch = this.platform.endpoints[name]?.batch
    if (batch === undefined) throw new TypeError(`${this.platform.name} has no endpoint ${name} with batch`)
    const asked = [...new Set(ids)]
    const wrong = asked.find((id) => id === '' || id.includes(','))
    if (wrong !== undefined) {
      const found = JSON.stringify(wrong)
      throw new AttemptError('invalid_params', `${name}: found the id ${found}, expected one without commas`)
    }
    const all: [string, unknown][] = []
    for (let first = 0; first < asked.length; first += batch.max) {
      const some = asked.slice(first, first + batch.max)
      const call = { endpoint: name, batch, options }
      all.push(...(await this.#untilDone(errand, () => this.#batches.join(errand, call, some))))
    }
    return new Map(all)
  }

  /** Repeats what failed as long as the job's tally allows it, with pauses. */
  async #untilDone<Done>(errand: Errand, attempt: () => Promise<Done>): Promise<Done> {
    for (;;) {
      errand.standing.waits()
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof AttemptError) || error instanceof JudgedError) throw error
        const { metrics, retry } = this.#ports
        const verdict = judge(error, errand.tally, retry, Math.random)
        if (verdict.next !== 'again') throw new JudgedError(error, verdict)
        metrics.retries_total.inc({ platform: this.platform.name, reason: error.reason })
        errand.standing.waits()
        await pauseAfter(error).wait(verdict.delayMs, errand.signal)
      }
    }
  }

  /** One attempt; what is held against nobody is repeated at once. `options` may be a function: it is asked under the permit. */
  async #once(errand: Errand, name: string, options: LateOptions, credential?: string): Promise<Answer> {
    const endpoint = this.platform.endpoints[name]
    if (endpoint === undefined) throw new TypeError(`${this.platform.name} has no endpoint ${name}`)
    const { credentials } = this
    for (;;) {
      errand.standing.waits()
      try {
        const trial =
          credential === undefined && credentials.isTrialDue ? await credentials.trial(errand) : undefined
        return await this.#attempt(errand, name, endpoint, options, credential ?? trial)
      } catch (error) {
        if (!this.#ports.isLate(error) && error !== ANOTHER) throw error
      }
    }
  }

  async #attempt(
    errand: Errand,
    name: string,
    endpoint: Endpoint,
    options: LateOptions,
    credential: string | undefined,
  ): Promise<Answer> {
    const { desk, fetcher, reader } = this.#ports
    const authorised = endpoint.authorised !== false
    if (authorised && this.credentials.any) {
      const preparing = this.credentials.prepare(errand)
      if (preparing !== undefined) {
        await preparing
        // It may have made a call of its own.
        errand.standing.waits()
      }
    }
    const waited = errand.trace?.step('permit', { 'millrace.endpoint': name })
    const acquiring = desk.acquire({
      platform: this.platform.name,
      endpoint: name,
      credential,
      cost: endpoint.cost ?? 1,
      priority: errand.priority,
      sinceMs: errand.sinceMs,
      expiresAtMs: errand.expiresAtMs,
      begun: errand.calls > 0,
      isInTheWay: errand.isInTheWay,
      signal: errand.signal,
    })
    if (waited !== undefined) acquiring.then(() => waited(), waited)
    const permit = await acquiring
    const authorisation = authorised ? this.#authorisationFor(permit) : {}
    // First of all: who comes along in a shared call is to be counted with it.
    const late = typeof options === 'function' ? options() : options
    errand.standing.moves()
    let reply: Reply
    errand.calls++
    const fetched = errand.trace?.step('fetch', { 'millrace.endpoint': name })
    try {
      // In the same turn as the engine counts it, and also when there is no request to be made of the options.
      desk.sent(permit)
      reply = await fetcher.fetch(requestOf(this.#origin, endpoint, late, authorisation), permit, {
        signal: errand.signal,
        onArrived: () => desk.arrived(permit),
      })
      fetched?.(reply.status >= 400 ? new StatusError(reply.status) : undefined)
    } catch (error) {
      fetched?.(error)
      throw error
    } finally {
      desk.roomMade(this.platform.name)
    }
    const nowMs = Date.now()
    errand.observedAtMs = nowMs
    const read = readReply(reply, name, reader)
    try {
      const data = judgeReply(reply, read, {
        platform: this.platform,
        response: endpoint.response,
        reader,
        nowMs,
      })
      if (authorised) this.credentials.accept(nameOf(permit))
      this.#heed(reply, read, permit, nowMs)
      return { data, headers: read.headers }
    } catch (error) {
      if (error instanceof AttemptError && error.blocks !== undefined) {
        if (await this.#block(errand, permit, error)) throw ANOTHER
      } else this.#heed(reply, read, permit, nowMs)
      if (authorised && error instanceof AttemptError && error.reason === 'unauthorized') {
        if (await this.#refused(errand, permit, authorisation, error)) throw ANOTHER
      }
      throw error
    }
  }

  /** What was prepared may have ended while the call waited: then the permit goes back unused, and it is prepared again. */
  #authorisationFor(permit: Permit): Authorisation {
    const authorisation = this.credentials.authorisationOf(nameOf(permit))
    if (authorisation !== undefined) return authorisation
    const { desk } = this.#ports
    desk.sent(permit)
    desk.arrived(permit)
    throw ANOTHER
  }

  /**
   * True when the call is worth another try at once. A token may have been revoked before its time: each job may try once with a new
   * one. After that it is the credential that is refused, and there may be another.
   */
  async #refused(
    errand: Errand,
    permit: Permit,
    authorisation: Authorisation,
    error: AttemptError,
  ): Promise<boolean> {
    const name = nameOf(permit)
    await this.credentials.forget(name, authorisation)
    errand.renewed ??= new Set()
    if (authorisation.expiresInMs !== undefined && !errand.renewed.has(name)) {
      errand.renewed.add(name)
      return true
    }
    return this.credentials.refuse(name, error.message)
  }

  /**
   * Every daemon holds back as long as the upstream asked for. Without a figure one back-off step is enough. True when it was about
   * one of several credentials, so that another may be used at once.
   */
  async #block(errand: Errand, permit: Permit, error: AttemptError): Promise<boolean> {
    const { endpoint } = permit
    const { metrics, relay, retry } = this.#ports
    const platform = this.platform.name
    metrics.upstream_rejections_total.inc({ platform, endpoint })
    const blockMs = error.retryAfterMs ?? retry.baseMs
    const target = error.blocks === 'endpoint' ? { platform, endpoint } : this.#targetOf(error.blocks, permit)
    // A spent quota is no sign that the rate is too high.
    const telling = relay.tell(target, { blockMs, rejected: error.reason === 'rate_limited' })
    if (target.credential === undefined) {
      await telling
      return false
    }
    this.credentials.holdBack(target.credential, performance.now() + blockMs)
    await telling
    const { tally } = errand
    if (tally.throttled >= retry.throttledMax || this.credentials.usableAtMs > performance.now()) return false
    tally.throttled++
    return true
  }

  /** What is said of a platform's only credential is said of the platform. */
  #targetOf(scope: 'platform' | 'credential' | undefined, permit: Permit): LimitTarget {
    const platform = this.platform.name
    const isOfOne = scope === 'credential' && this.credentials.several
    return isOfOne ? { platform, credential: nameOf(permit) } : { platform }
  }

  /** A reply that is no refusal may say how much is left. Nobody waits until the limiter knows. */
  #heed(reply: Reply, read: ReadReply, permit: Permit, nowMs: number): void {
    const { relay, reader } = this.#ports
    const platform = this.platform.name
    const ofCredential = this.platform.advice?.(read)
    if (ofCredential !== undefined) void relay.tell(this.#targetOf('credential', permit), ofCredential)
    const ofEndpoint = reader.adviceOf(reply.headers, nowMs)
    if (ofEndpoint !== undefined) void relay.tell({ platform, endpoint: read.endpoint }, ofEndpoint)
  }
}

/** Thrown by an attempt that is to be made again at once, with another credential or a new token: nothing is held against the job. */
const ANOTHER = Symbol('another attempt')

/** For the trace alone: what a status means is judged later. */
class StatusError extends Error {
  constructor(status: number) {
    super()
    this.name = `status ${status}`
  }
}

function nameOf({ credential }: Permit): string {
  return credential ?? MAIN_CREDENTIAL
}

/** Options that are known before there is a permit, or not until then. */
type LateOptions = CallOptions | (() => CallOptions)

/** By the failure that they follow: jobs that shared a call share its error. */
const pauses = new WeakMap<AttemptError, Pause>()

function pauseAfter(error: AttemptError): Pause {
  let pause = pauses.get(error)
  if (pause === undefined) {
    pause = new Pause()
    pauses.set(error, pause)
  }
  return pause
}

/** An attempt's error with what follows from it, on its way through the adapter's code to the one who runs the job. */
export class JudgedError extends AttemptError {
  readonly verdict: Exclude<Verdict, { next: 'again' }>

  constructor(error: AttemptError, verdict: JudgedError['verdict']) {
    super(error.reason, error.message, {
      cause: error,
      retryAfterMs: error.retryAfterMs,
      blocks: error.blocks,
    })
    this.verdict = verdict
  }
}
