import type { Config } from '../config/schema.ts'
import type { FetchEngineOptions } from '../fetch/engine.ts'
import type { ConfiguredPlatform } from './platforms.ts'

/** The fetch engine's options: the origins of platforms, and the `fetch` section. */
export function fetchOptionsOf(config: Config, platforms: readonly ConfiguredPlatform[]): FetchEngineOptions {
  const { fetch, images } = config
  return {
    platformOrigins: platforms.map(({ platform, origin, privateOrigin }) => ({
      platform: platform.name,
      origin,
      private: privateOrigin,
    })),
    allowPrivate: images.private_hosts,
    inFlightMax: fetch.in_flight_max,
    socketsPerHost: fetch.sockets_per_host,
    socketsPerOrigin: fetch.sockets_per_origin,
    keepAliveMs: fetch.keep_alive,
    dnsTtlMs: fetch.dns_ttl,
    timeoutMs: fetch.timeout,
    connectTimeoutMs: fetch.connect_timeout,
    readTimeoutMs: fetch.read_timeout,
    bodyBytesMax: fetch.body_bytes_max,
  }
}
