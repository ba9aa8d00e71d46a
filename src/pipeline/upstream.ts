import { AttemptError } from '../job/errors.ts'
import type { Fetcher, FetchRequest, Reply } from '../job/fetch.ts'
import type { Authorisation, CallOptions, Endpoint, JsonReply, Platform } from '../job/platform.ts'
import { sleep } from '../lib/abort.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Secrets } from '../telemetry/secrets.ts'
import type { AdviceRelay } from './advice-relay.ts'
import { Authoriser } from './authoriser.ts'
import type { Errand } from './errand.ts'
import { judgeReply, type ReadReply, type ReplyReader, readReply } from './judge-reply.ts'
import type { PermitDesk } from './permit-desk.ts'
import { judge, type RetryPolicy, type Verdict } from './retry-policy.ts'

export interface UpstreamPorts {
  readonly desk: PermitDesk
  readonly fetcher: Fetcher
  readonly relay: AdviceRelay
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
  /** Null when there are none: then calls wait, under the desk's pause, before anything is asked of the adapter. */
  readonly credentials: unknown
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
  readonly #credentials: unknown
  readonly #minIntervalsMs: ReadonlyMap<string, number>
  readonly #ports: UpstreamPorts
  readonly #authoriser: Authoriser

  constructor(platform: Platform, options: UpstreamOptions, ports: UpstreamPorts) {
    this.platform = platform
    this.#origin = options.origin.replace(/\/+$/, '')
    this.#credentials = options.credentials
    this.#minIntervalsMs = new Map(Object.entries(options.minIntervalsMs))
    this.#ports = ports
    this.#authoriser = new Authoriser(async (errand) => {
      if (platform.authorise === undefined) return {}
      // The widest type: each platform's own call context is narrower, and definePlatform has checked it.
      const get = async (name: string, call: CallOptions = {}) => (await this.call(errand, name, call)).data
      const authorisation = await platform.authorise(options.credentials, {
        get: get as never,
        now: Date.now,
      })
      ports.secrets.addTokens(tokensOf(authorisation), authorisation.expiresInMs ?? TOKEN_LIFE_MS)
      return authorisation
    })
  }

  /** For how long a creator counts as scraped by a job of this type, ms; 0: not at all. */
  minIntervalMs(jobType: string): number {
    return this.#minIntervalsMs.get(jobType) ?? 0
  }

  /** Calls an endpoint until it answers, or throws AttemptError when the job has to wait longer or is given up. */
  async call(errand: Errand, name: string, options: CallOptions = {}): Promise<Answer> {
    const endpoint = this.platform.endpoints[name]
    if (endpoint === undefined) throw new TypeError(`${this.platform.name} has no endpoint ${name}`)
    for (;;) {
      errand.standing.waits()
      try {
        return await this.#attempt(errand, name, endpoint, options)
      } catch (error) {
        if (this.#ports.isLate(error)) continue
        if (!(error instanceof AttemptError) || error instanceof JudgedError) throw error
        if (error.reason === 'unauthorized' && errand.renewal === 'due') {
          errand.renewal = 'done'
          continue
        }
        const { metrics, retry } = this.#ports
        const verdict = judge(error, errand.tally, retry, Math.random)
        if (verdict.next !== 'again') throw new JudgedError(error, verdict)
        metrics.retries_total.inc({ platform: this.platform.name, reason: error.reason })
        errand.standing.waits()
        await sleep(verdict.delayMs, errand.signal)
      }
    }
  }

  async #attempt(errand: Errand, name: string, endpoint: Endpoint, options: CallOptions): Promise<Answer> {
    const { desk, fetcher, reader, metrics } = this.#ports
    const authorised = endpoint.authorised !== false
    const permitted = () =>
      desk.acquire({
        platform: this.platform.name,
        endpoint: name,
        cost: endpoint.cost ?? 1,
        priority: errand.priority,
        sinceMs: errand.sinceMs,
        expiresAtMs: errand.expiresAtMs,
        begun: errand.calls > 0,
        isInTheWay: errand.isInTheWay,
        signal: errand.signal,
      })
    if (this.#credentials === null) await permitted()
    const authorisation = authorised ? await this.#authoriser.current(errand) : {}
    const request = this.#request(endpoint, options, authorisation)
    // The authorisation may have made a call of its own.
    errand.standing.waits()
    const permit = await permitted()
    errand.standing.moves()
    let reply: Reply
    errand.calls++
    try {
      const sending = fetcher.fetch(request, permit, {
        signal: errand.signal,
        onArrived: () => desk.arrived(permit),
      })
      desk.sent(permit)
      reply = await sending
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
      this.#heed(reply, read, nowMs)
      return { data, headers: read.headers }
    } catch (error) {
      if (error instanceof AttemptError && error.blocks !== undefined) {
        metrics.upstream_rejections_total.inc({ platform: this.platform.name, endpoint: name })
        await this.#block(name, error)
      } else this.#heed(reply, read, nowMs)
      if (authorised && error instanceof AttemptError && error.reason === 'unauthorized')
        this.#renew(errand, authorisation)
      throw error
    }
  }

  /** A token may have been revoked before its time: each job may try once more, with a new one. A key stays the same. */
  #renew(errand: Errand, refused: Authorisation): void {
    this.#authoriser.forget(refused)
    if (refused.expiresInMs !== undefined && errand.renewal === 'none') errand.renewal = 'due'
  }

  /** Every daemon holds back as long as the upstream asked for. Without a figure one back-off step is enough. */
  async #block(endpoint: string, error: AttemptError): Promise<void> {
    const target = { platform: this.platform.name, ...(error.blocks === 'endpoint' ? { endpoint } : {}) }
    await this.#ports.relay.tell(target, {
      blockMs: error.retryAfterMs ?? this.#ports.retry.baseMs,
      // A spent quota is no sign that the rate is too high.
      rejected: error.reason === 'rate_limited',
    })
  }

  /** A reply that is no refusal may say how much is left. Nobody waits until the limiter knows. */
  #heed(reply: Reply, read: ReadReply, nowMs: number): void {
    const { relay, reader } = this.#ports
    const platform = this.platform.name
    const ofPlatform = this.platform.advice?.(read)
    if (ofPlatform !== undefined) void relay.tell({ platform }, ofPlatform)
    const ofEndpoint = reader.adviceOf(reply.headers, nowMs)
    if (ofEndpoint !== undefined) void relay.tell({ platform, endpoint: read.endpoint }, ofEndpoint)
  }

  #request(endpoint: Endpoint, options: CallOptions, authorisation: Authorisation): FetchRequest {
    // Most paths have no parts to fill, and this runs for every call.
    const path = !endpoint.path.includes(':')
      ? endpoint.path
      : endpoint.path.replaceAll(/:([a-z_]+)/g, (_whole, part: string) => {
          const value = options.path?.[part] ?? authorisation.path?.[part]
          if (value === undefined) throw new TypeError(`${endpoint.path}: the call gives no ${part}`)
          return encodeURIComponent(value)
        })
    const url = new URL(this.#origin + path)
    for (const [key, value] of Object.entries({ ...options.query, ...authorisation.query })) {
      if (value !== undefined) url.searchParams.set(key, String(value))
    }
    const headers: Record<string, string> = { accept: 'application/json', ...authorisation.headers }
    const method = endpoint.method ?? 'GET'
    if (options.form !== undefined) {
      headers['content-type'] = 'application/x-www-form-urlencoded'
      return { method, url, headers, body: new URLSearchParams(options.form).toString() }
    }
    if (options.json !== undefined) {
      headers['content-type'] = 'application/json'
      return { method, url, headers, body: JSON.stringify(options.json) }
    }
    return { method, url, headers }
  }
}

/** Of a token that does not say. */
const TOKEN_LIFE_MS = 24 * 60 * 60 * 1000

/** Headers that are the same for everybody. */
const PLAIN_HEADER = /^(?:accept|content|user-agent)/i

/** What an authorisation adds to calls, without the scheme before it (`Bearer`). Ids of its path are no secret. */
function tokensOf({ headers = {}, query = {} }: Authorisation): string[] {
  const inHeaders = Object.entries(headers).filter(([name]) => !PLAIN_HEADER.test(name))
  return [...inHeaders.map(([, value]) => value.replace(/^[A-Za-z]+ +/, '')), ...Object.values(query)]
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
