import { AttemptError } from '../job/errors.ts'
import type { Downloader, Fetcher, FetchRequest, Reply } from '../job/fetch.ts'
import type { Permit } from '../job/permit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { BreakerOptions } from './breaker.ts'
import { ACCEPT_ENCODING } from './decode.ts'
import { translateError } from './errors.ts'
import type { ExchangeFields } from './exchange.ts'
import { Hosts, type PlatformOrigin } from './hosts.ts'
import { FetchMeter } from './meter.ts'
import { conditionalHeaders, redirectTarget } from './redirect.ts'
import { type NameService, Resolver } from './resolver.ts'
import { systemDns } from './system-dns.ts'
import { Traffic } from './traffic.ts'

export interface FetchEngineOptions {
  /** The origins of platforms; every other host is one that we do not know. */
  readonly platformOrigins: readonly PlatformOrigin[]
  /** `host:port` of hosts beyond platforms that may be private although pictures come from them. Default: none. */
  readonly allowPrivate?: readonly string[]
  /** Requests under way in all. Default 4,096. As many more may wait for a socket. */
  readonly inFlightMax?: number
  /** Default 30: a polite figure, for hosts that we do not know. */
  readonly socketsPerHost?: number
  /** For the origin of a platform. Default 512. */
  readonly socketsPerOrigin?: number
  /** Hosts beyond platforms whose sockets and failures are remembered. Default 2,000. */
  readonly hostsMax?: number
  /** How long an unused socket is kept. Default 30 s. */
  readonly keepAliveMs?: number
  /** Default 300 s. */
  readonly dnsTtlMs?: number
  /** From being asked to the complete body, waiting for a socket and redirects included. Default 30 s. */
  readonly timeoutMs?: number
  /** Look-up, TCP and TLS. Default 5 s. */
  readonly connectTimeoutMs?: number
  /** From the request to the headers of the reply, and between any two pieces of its body. Default 10 s. */
  readonly readTimeoutMs?: number
  /** Default 32 KiB. */
  readonly headerBytesMax?: number
  /** Of a body, on the wire and after decompression, where the request does not say. Default 10 MB. */
  readonly bodyBytesMax?: number
  /** Of a download. Default 3. */
  readonly redirectsMax?: number
  /** Google compresses only for clients that have `gzip` in their name. Default `millrace (gzip)`. */
  readonly userAgent?: string
  readonly breaker?: Omit<BreakerOptions, 'onChange'>
  /** Told when a host is no longer called, and when it is again. `platform` is undefined for hosts of downloads. */
  readonly onBreaker?: (change: { origin: string; platform: string | undefined; open: boolean }) => void
}

export interface FetchEnginePorts {
  readonly metrics: Metrics
  readonly log: Log
  /** Milliseconds on the clock of permits. Default: `performance.now`. */
  readonly now?: () => number
  /** Default: the machine's (hosts file, DNS, getaddrinfo). */
  readonly names?: NameService
}

/**
 * Sends requests: to platforms under permits, and downloads to addresses that users supplied. Time, size and address of
 * everything are bounded; see the options. What fails says so as AttemptError, whose message names method, origin and
 * path, never the query or a header.
 */
export class FetchEngine implements Fetcher, Downloader {
  readonly #bodyBytesMax: number
  readonly #redirectsMax: number
  readonly #userAgent: string
  readonly #socketsPerHost: number
  readonly #now: () => number
  readonly #resolver: Resolver
  readonly #hosts: Hosts
  readonly #traffic: Traffic
  readonly #force = new AbortController()
  #stopping: Promise<void> | undefined

  constructor(options: FetchEngineOptions, ports: FetchEnginePorts) {
    this.#bodyBytesMax = options.bodyBytesMax ?? 10_000_000
    this.#redirectsMax = options.redirectsMax ?? 3
    this.#userAgent = options.userAgent ?? 'millrace (gzip)'
    this.#socketsPerHost = options.socketsPerHost ?? 30
    this.#now = ports.now ?? (() => performance.now())
    const connectTimeoutMs = options.connectTimeoutMs ?? 5_000
    const meter = new FetchMeter(ports.metrics)
    this.#traffic = new Traffic(
      {
        inFlightMax: options.inFlightMax ?? 4_096,
        limits: {
          timeoutMs: options.timeoutMs ?? 30_000,
          connectTimeoutMs,
          readTimeoutMs: options.readTimeoutMs ?? 10_000,
        },
      },
      { meter, log: ports.log, now: this.#now },
    )
    this.#resolver = new Resolver({
      service: ports.names ?? systemDns({ now: this.#now }),
      ttlMs: options.dnsTtlMs ?? 300_000,
      now: this.#now,
    })
    this.#hosts = new Hosts({
      platformOrigins: options.platformOrigins,
      allowPrivate: options.allowPrivate ?? [],
      socketsPerHost: this.#socketsPerHost,
      socketsPerOrigin: options.socketsPerOrigin ?? 512,
      hostsMax: options.hostsMax ?? 2_000,
      keepAliveMs: options.keepAliveMs ?? 30_000,
      connectTimeoutMs,
      headerBytesMax: options.headerBytesMax ?? 32 * 1024,
      breaker: options.breaker ?? {},
      resolver: this.#resolver,
      onBreaker: (change) => {
        // Of all platforms behind it: none of them is called.
        for (const { platform, origin } of options.platformOrigins) {
          if (change.platform !== undefined && new URL(origin).origin === change.origin)
            meter.breaker(platform, change.open)
        }
        ports.log.warn(change, change.open ? 'host fails, paused' : 'host answers again')
        options.onBreaker?.(change)
      },
      onStray: (error) => ports.log.error({ err: error }, 'fetch: an error that belongs to no request'),
    })
    for (const { platform } of options.platformOrigins) meter.breaker(platform, false)
  }

  /** See Fetcher. Rejects with PermitLateError when the permit could not be used: nothing was sent then. */
  fetch(
    request: FetchRequest,
    permit: Permit,
    options: { signal: AbortSignal; onArrived?: () => void },
  ): Promise<Reply> {
    return this.#run({
      method: request.method,
      url: request.url,
      headers: this.#headers(request.headers),
      body: request.body,
      bodyBytesMax: request.bodyBytesMax ?? this.#bodyBytesMax,
      permit,
      signal: options.signal,
      onArrived: options.onArrived,
      askedMs: this.#now(),
    })
  }

  room(origin: string): number {
    if (this.#stopping !== undefined) return 0
    const ofHost = this.#hosts.find(origin)?.room(this.#now()) ?? this.#socketsPerHost
    return Math.min(this.#traffic.room, ofHost)
  }

  /**
   * In how many ms `room` can rise by itself because a failing host may be probed; 0 when its breaker holds nothing back,
   * undefined while a probe is on its way (`onBreaker` tells of its success, its failure begins the next wait).
   */
  probeInMs(origin: string): number | undefined {
    const host = this.#hosts.find(origin)
    return host === undefined ? 0 : host.breaker.probeInMs(this.#now())
  }

  /** See Downloader. Fails at once (`connection`) while the breaker of a host is open: others must not wait behind it. */
  async download(
    url: URL,
    options: {
      signal: AbortSignal
      bodyBytesMax: number
      validators?: { etag?: string; lastModified?: string }
    },
  ): Promise<Reply> {
    const askedMs = this.#now()
    let target = url
    for (let hops = 0; ; hops += 1) {
      const reply = await this.#run({
        method: 'GET',
        url: target,
        headers: [
          'user-agent',
          this.#userAgent,
          'accept',
          'image/*,*/*;q=0.5',
          // Pictures are compressed already; asking for more costs both sides time.
          'accept-encoding',
          'identity',
          ...conditionalHeaders(options.validators),
        ],
        body: undefined,
        bodyBytesMax: options.bodyBytesMax,
        permit: undefined,
        signal: options.signal,
        onArrived: undefined,
        askedMs,
      })
      const next = redirectTarget(reply, target)
      if (next === undefined) return { ...reply, durationMs: this.#now() - askedMs }
      if (hops === this.#redirectsMax) {
        const what = `GET ${url.origin}${url.pathname}`
        throw new AttemptError('bad_response', `${what}: more than ${hops} redirects`)
      }
      target = next
    }
  }

  /** Nothing to do: sockets open when they are needed. */
  start(): void {}

  /**
   * Takes no more, waits for what is under way until `deadline` is aborted (without one: each ends by its own time-out),
   * then closes every socket; requests that are left fail with `connection`. Resolves when nothing is open. May be called
   * again with an earlier deadline.
   */
  stop(deadline?: AbortSignal): Promise<void> {
    const force = () => this.#force.abort()
    if (deadline?.aborted === true) force()
    else deadline?.addEventListener('abort', force, { once: true })
    this.#stopping ??= this.#stop()
    return this.#stopping.finally(() => deadline?.removeEventListener('abort', force))
  }

  async #stop(): Promise<void> {
    await this.#traffic.drain(this.#force.signal, stopped)
    await this.#hosts.destroy()
    this.#resolver.stop()
  }

  #run(fields: ExchangeFields): Promise<Reply> {
    try {
      fields.signal.throwIfAborted()
      if (this.#stopping !== undefined) throw stopped(whatOf(fields))
      const host =
        fields.permit === undefined ? this.#hosts.ofDownload(fields.url) : this.#hosts.ofPlatform(fields.url)
      return this.#traffic.run(fields, host)
    } catch (error) {
      const { signal, onArrived } = fields
      return new Promise((_resolve, reject) => {
        reject(signal.aborted ? signal.reason : translateError(error, whatOf(fields)))
        onArrived?.()
      })
    }
  }

  #headers(given: Readonly<Record<string, string>>): string[] {
    const headers: string[] = []
    let encoding = false
    let agent = false
    for (const name in given) {
      const lower = name.toLowerCase()
      if (lower === 'accept-encoding') encoding = true
      else if (lower === 'user-agent') agent = true
      headers.push(lower, given[name]!)
    }
    if (!encoding) headers.push('accept-encoding', ACCEPT_ENCODING)
    if (!agent) headers.push('user-agent', this.#userAgent)
    return headers
  }
}

function whatOf(fields: { readonly method: string; readonly url: URL }): string {
  return `${fields.method} ${fields.url.origin}${fields.url.pathname}`
}

function stopped(what: string): AttemptError {
  return new AttemptError('connection', `${what}: the daemon stops`)
}
