import { checkUrl, hostAndPort } from './address-guard.ts'
import { Breaker, type BreakerOptions } from './breaker.ts'
import { type Connect, createConnector } from './connector.ts'
import { Host } from './host.ts'
import type { Resolver } from './resolver.ts'

/** The origin of a platform: it gets more sockets, a breaker that is measured, and may be private where it says so. */
export interface PlatformOrigin {
  /** Scheme, host and port; a path behind it is ignored. */
  readonly origin: string
  readonly platform: string
  readonly private: boolean
}

export interface HostsOptions {
  readonly platformOrigins: readonly PlatformOrigin[]
  /** `host:port` of other hosts that may be private, e.g. `127.0.0.1:8080`. */
  readonly allowPrivate: readonly string[]
  readonly socketsPerHost: number
  readonly socketsPerOrigin: number
  readonly hostsMax: number
  readonly keepAliveMs: number
  readonly connectTimeoutMs: number
  readonly headerBytesMax: number
  readonly breaker: BreakerOptions
  readonly resolver: Resolver
  readonly onBreaker: (change: { origin: string; platform: string | undefined; open: boolean }) => void
  readonly onStray: (error: unknown) => void
}

/** Every host that is known: those of platforms for ever, others up to `hostsMax`, the longest unused forgotten first. */
export class Hosts {
  readonly #options: HostsOptions
  readonly #platforms = new Map<string, { host: Host; private: boolean }>()
  // In the order of use, the longest unused first.
  readonly #others = new Map<string, Host>()
  readonly #origins = new Map<string, string>()
  readonly #allowPrivate: ReadonlySet<string>
  readonly #guarded: Connect
  readonly #open: Connect
  readonly #closing = new Set<Promise<void>>()

  constructor(options: HostsOptions) {
    this.#options = options
    this.#allowPrivate = new Set(options.allowPrivate.map((host) => host.toLowerCase()))
    const { resolver, connectTimeoutMs } = options
    this.#guarded = createConnector({ resolver, connectTimeoutMs, guarded: true })
    this.#open = createConnector({ resolver, connectTimeoutMs, guarded: false })
    for (const { origin: written, platform, private: mayBePrivate } of options.platformOrigins) {
      const { origin } = new URL(written)
      // Two platforms behind one origin share its sockets and its breaker; it is private when one of them says so.
      const known = this.#platforms.get(origin)
      if (known !== undefined && (known.private || !mayBePrivate)) continue
      this.#platforms.set(origin, {
        host: this.#create(origin, mayBePrivate, platform),
        private: mayBePrivate,
      })
    }
  }

  /**
   * The host of a request under a permit: a platform's when it is one's origin. Throws AddressRefusedError for a URL that
   * may not be reached.
   */
  ofPlatform(url: URL): Host {
    const known = this.#platforms.get(url.origin)
    if (known === undefined) return this.ofDownload(url)
    checkUrl(url, { mayBePrivate: known.private })
    return known.host
  }

  /**
   * The host of an address that users supplied: never a platform's, so that a picture's URL cannot reach a private origin
   * or take its sockets. Throws AddressRefusedError.
   */
  ofDownload(url: URL): Host {
    const mayBePrivate = this.#allowPrivate.has(hostAndPort(url))
    checkUrl(url, { mayBePrivate })
    const { origin } = url
    const known = this.#others.get(origin)
    if (known !== undefined) {
      this.#others.delete(origin)
      this.#others.set(origin, known)
      return known
    }
    if (this.#others.size >= this.#options.hostsMax) this.#forgetOne()
    const host = this.#create(origin, mayBePrivate, undefined)
    this.#others.set(origin, host)
    return host
  }

  /** The host of an origin as configuration writes it, if it is known; undefined, and nothing is made, otherwise. */
  find(written: string): Host | undefined {
    let origin = this.#origins.get(written)
    if (origin === undefined) {
      origin = URL.parse(written)?.origin ?? written
      // Asked for with the few origins of configuration; the bound is for callers that do otherwise.
      if (this.#origins.size < 1_000) this.#origins.set(written, origin)
    }
    return this.#platforms.get(origin)?.host ?? this.#others.get(origin)
  }

  /** Closes every socket. Resolves when all are closed. */
  async destroy(): Promise<void> {
    const hosts = [...[...this.#platforms.values()].map(({ host }) => host), ...this.#others.values()]
    this.#others.clear()
    await Promise.all([...hosts.map((host) => host.destroy()), ...this.#closing])
  }

  #create(origin: string, mayBePrivate: boolean, platform: string | undefined): Host {
    const { onBreaker, onStray, socketsPerOrigin, socketsPerHost, keepAliveMs, headerBytesMax } =
      this.#options
    return new Host({
      origin,
      socketsMax: platform === undefined ? socketsPerHost : socketsPerOrigin,
      breaker: new Breaker({
        ...this.#options.breaker,
        onChange: (open) => onBreaker({ origin, platform, open }),
      }),
      connect: mayBePrivate ? this.#open : this.#guarded,
      keepAliveMs,
      headerBytesMax,
      onStray,
    })
  }

  /** Hosts with requests on their way stay: their number is bounded by that of the requests. */
  #forgetOne(): void {
    for (const [origin, host] of this.#others) {
      if (!host.idle) continue
      this.#others.delete(origin)
      const closed = host.destroy().finally(() => this.#closing.delete(closed))
      this.#closing.add(closed)
      return
    }
  }
}
