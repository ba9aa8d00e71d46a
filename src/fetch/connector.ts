import type { LookupFunction, Socket } from 'node:net'
import { buildConnector } from 'undici'
import { AddressRefusedError, isPublicAddress } from './address-guard.ts'
import type { Address, Resolver } from './resolver.ts'

/** undici's connector, but with the socket returned at once, so that a connection can be given up while it is made. */
export type Connect = (
  options: buildConnector.Options,
  callback: buildConnector.Callback,
) => Socket | undefined

export interface ConnectorOptions {
  readonly resolver: Resolver
  /** False for hosts that configuration says may be private: then no address is refused. */
  readonly guarded: boolean
  readonly connectTimeoutMs: number
}

/**
 * Makes connections with our resolver and, when guarded, to public addresses only: what DNS answered is filtered, and the
 * address of the socket is checked again once it is connected. (For a literal there is no look-up: `checkUrl` has judged
 * it before.) One connector serves many clients, so that they share TLS sessions.
 */
export function createConnector(options: ConnectorOptions): Connect {
  const connect = buildConnector({
    // The engine's sweep ends a slow connect at its time; undici's own timer, coarser by up to a second, stands behind it.
    timeout: options.connectTimeoutMs + 1_000,
    allowH2: false,
    maxCachedSessions: 500,
    keepAlive: true,
    autoSelectFamily: true,
    lookup: lookupOf(options.resolver, options.guarded),
    // A connector is given host and port with every call; the types ask for them here because they are net.connect's.
  } as buildConnector.BuildOptions) as Connect
  if (!options.guarded) return connect
  return (target, callback) => {
    const socket = connect(target, callback)
    // Before undici's own listener, which would write the request in this very event.
    socket?.prependOnceListener('connect', () => {
      const address = socket.remoteAddress
      if (address === undefined || isPublicAddress(address)) return
      socket.destroy(new AddressRefusedError(`connected to ${address}, which is not a public address`))
    })
    return socket
  }
}

/** `dns.lookup` as `net.connect` calls it, answered by the resolver; when guarded, with public addresses only. */
export function lookupOf(resolver: Resolver, guarded: boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolver.resolve(hostname).then(
      (found) => {
        const wanted = options.family === 4 || options.family === 6 ? options.family : undefined
        const addresses = found.filter(
          ({ address, family }) =>
            (wanted === undefined || wanted === family) && (!guarded || isPublicAddress(address)),
        )
        const [first] = addresses
        if (first === undefined) {
          callback(refusal(hostname, found), '', 4)
        } else if (options.all === true) {
          callback(null, addresses as { address: string; family: number }[])
        } else {
          callback(null, first.address, first.family)
        }
      },
      (error: unknown) => {
        callback(error instanceof Error ? error : new Error(String(error)), '', 4)
      },
    )
  }
}

function refusal(hostname: string, found: readonly Address[]): Error {
  const listed = found
    .slice(0, 3)
    .map(({ address }) => address)
    .join(', ')
  return new AddressRefusedError(`${hostname} is ${listed}, which is not a public address`)
}
