import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** An address that must not be reached. Translated into AttemptError `address_refused` by the engine. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError'
  readonly code = 'ADDRESS_REFUSED'
}

/** What is assigned today: outside of it nothing is public, `::127.0.0.1` (IPv4-compatible) included. */
const IPV6_GLOBAL_UNICAST: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse('2000::'), 3]

/**
 * Public by its range, and yet a metadata service: Azure's WireServer answers there inside every virtual machine. The
 * others (169.254.169.254, fd00:ec2::254, 100.100.100.200, 192.0.0.192) lie in ranges that are refused anyway.
 */
const METADATA = new Set(['168.63.129.16'])

/**
 * True for an IP address of the public internet: not loopback, private, link-local, carrier-grade NAT, multicast,
 * reserved, documentation, metadata, IPv4-mapped, or a tunnel that embeds another address (6to4, Teredo, NAT64).
 */
export function isPublicAddress(address: string): boolean {
  const kind = isIP(address)
  if (kind === 0) return false
  // A zone (`fe80::1%eth0`) exists for link-local addresses only.
  if (address.includes('%')) return false
  if (kind === 4) return ipaddr.IPv4.parse(address).range() === 'unicast' && !METADATA.has(address)
  const parsed = ipaddr.IPv6.parse(address)
  return parsed.range() === 'unicast' && parsed.match(IPV6_GLOBAL_UNICAST)
}

/**
 * The IP address that a URL's host is, or undefined when it is a name. The WHATWG parser has already turned every
 * spelling (2130706433, 0x7f.1, 0177.0.0.1, ::ffff:127.0.0.1) into the plain one.
 */
export function literalOf(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return isIP(bare) === 0 ? undefined : bare
}

/** `localhost` and every name below it (RFC 6761): this machine, whatever a resolver would say. */
export function isLocalhost(hostname: string): boolean {
  return /(?:^|\.)localhost\.?$/i.test(hostname)
}

/**
 * Checks what can be known of a URL before anything is looked up: its scheme, and its host when that is an address
 * or this machine's name. Other names are checked by what DNS answers, and once more by the address of the connected socket (see connector). Throws
 * AddressRefusedError; the message names the host, never the path or the query.
 */
export function checkUrl(url: URL, options: { readonly mayBePrivate: boolean }): void {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new AddressRefusedError(`scheme ${url.protocol.slice(0, 20)}, expected http or https`)
  }
  if (options.mayBePrivate) return
  if (isLocalhost(url.hostname)) throw new AddressRefusedError(`${url.hostname} is this machine`)
  const literal = literalOf(url.hostname)
  if (literal !== undefined && !isPublicAddress(literal)) {
    throw new AddressRefusedError(`${literal} is not a public address`)
  }
}

/** `host:port` of a URL, with the scheme's port where it names none: what `allowPrivate` lists. */
export function hostAndPort(url: URL): string {
  return `${url.hostname}:${url.port !== '' ? url.port : url.protocol === 'https:' ? '443' : '80'}`
}
