import type { Server, ServerOptions } from 'node:http'
import type { AddressInfo } from 'node:net'
import { MillraceError, messageOf } from '../job/errors.ts'

/** For servers whose callers are few and near. */
export const QUIET: ServerOptions = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
}

/** Open connections get this long to end by themselves when a server stops. */
const STOP_GRACE_MS = 1_000

export interface ListenOptions {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  /** The key of the configuration that says so. Default `admin.port`. */
  readonly setting?: string
}

export interface AdminAddress {
  readonly host: string
  readonly port: number
  /** Without a slash at the end. */
  readonly url: string
}

/** Listens, or throws MillraceError (`ADMIN_LISTEN`, kind `failed`): which address, what is wrong with it, what to set. */
export async function listen(
  server: Server,
  { host, port, setting = 'admin.port' }: ListenOptions,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port, backlog: 128 }, resolve)
  try {
    await promise
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    const what = LISTEN_PROBLEMS[code]?.replaceAll('{port}', setting) ?? messageOf(error)
    throw new MillraceError('ADMIN_LISTEN', `${setting} ${port} on ${host}: ${what}`, { cause: error })
  } finally {
    server.off('error', reject)
  }
}

/** Where a server listens. */
export function addressOf(server: Server): AdminAddress {
  const { address, family, port } = server.address() as AddressInfo
  return { host: address, port, url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}` }
}

/** Resolves when a server has no connection left; those that do not end by themselves are ended. */
export async function closed(server: Server): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const forced = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS)
  await done
  clearTimeout(forced)
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there already; set {port} to a free one, or to 0 for any',
  EACCES: 'this user may not listen there; set {port} to one above 1023',
  EADDRNOTAVAIL:
    'no network interface here has that address; set admin.host to one that exists, e.g. 127.0.0.1',
  ENOTFOUND: 'there is no such host; set admin.host to an address of this machine, e.g. 127.0.0.1',
}
