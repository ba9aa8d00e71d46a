import type { Server } from 'node:http'
import { MillraceError, messageOf } from '../job/errors.ts'

/** Listens, or throws MillraceError (`ADMIN_LISTEN`, kind `failed`): which address, what is wrong with it, what to set. */
export async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port, backlog: 128 }, resolve)
  try {
    await promise
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    const what = LISTEN_PROBLEMS[code] ?? messageOf(error)
    throw new MillraceError('ADMIN_LISTEN', `admin.port ${port} on ${host}: ${what}`, { cause: error })
  } finally {
    server.off('error', reject)
  }
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there already; set admin.port to a free one, or to 0 for any',
  EACCES: 'this user may not listen there; set admin.port to one above 1023',
  EADDRNOTAVAIL:
    'no network interface here has that address; set admin.host to one that exists, e.g. 127.0.0.1',
  ENOTFOUND: 'there is no such host; set admin.host to an address of this machine, e.g. 127.0.0.1',
}
