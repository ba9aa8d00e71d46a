import { Resolver as DnsResolver, lookup as getaddrinfo } from 'node:dns/promises'
import { HostsFile } from './hosts-file.ts'
import type { Address, NameService } from './resolver.ts'

/** Per server and try. Two tries of two servers stay below the connect time-out of 5 s in the usual case. */
const QUERY_TIMEOUT_MS = 1_500

/**
 * The machine's own idea of names: the hosts file, then DNS by c-ares, which works on the event loop, and only when
 * neither knows the name getaddrinfo, which knows more (search domains, mDNS, NSS) but takes a thread of libuv's pool.
 * Names without a dot go to getaddrinfo straight away: they live by search domains.
 */
export function systemDns(options: { readonly now: () => number; readonly hostsPath?: string }): NameService {
  const hosts = new HostsFile({
    now: options.now,
    ...(options.hostsPath === undefined ? {} : { path: options.hostsPath }),
  })
  const dns = new DnsResolver({ timeout: QUERY_TIMEOUT_MS, tries: 2 })

  return {
    async query(name) {
      // A trailing dot says "this is the whole name"; the hosts file does not write it.
      const known = await hosts.find(name.replace(/\.$/, ''))
      if (known !== undefined) return known
      if (!name.includes('.')) return fromSystem(name)
      const [four, six] = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)])
      const found: Address[] = []
      if (four.status === 'fulfilled') for (const address of four.value) found.push({ address, family: 4 })
      if (six.status === 'fulfilled') for (const address of six.value) found.push({ address, family: 6 })
      return found.length > 0 ? found : fromSystem(name)
    },
    close() {
      dns.cancel()
    },
  }
}

async function fromSystem(name: string): Promise<Address[]> {
  const answers = await getaddrinfo(name, { all: true })
  return answers.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }))
}
