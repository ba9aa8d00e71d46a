import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Address } from './resolver.ts'

/** How long what was read is believed; the file changes rarely and is read on the pool that pictures keep busy. */
const KEPT_MS = 60_000

/** A hosts file of another size is no hosts file (an ad blocker's list of 200,000 names has 6 MB). */
const BYTES_MAX = 16 * 1024 * 1024

/**
 * The names of `/etc/hosts`, which DNS servers do not know. Read when first asked and again after a minute; a file that
 * cannot be read is an empty one.
 */
export class HostsFile {
  readonly #path: string
  readonly #now: () => number
  #names: Promise<ReadonlyMap<string, readonly Address[]>> | undefined
  #readAtMs = 0

  constructor(options: { readonly path?: string; readonly now: () => number }) {
    const standard =
      process.platform === 'win32' ? 'C:\\Windows\\System32\\drivers\\etc\\hosts' : '/etc/hosts'
    this.#path = options.path ?? standard
    this.#now = options.now
  }

  /** The addresses that the file gives a name (lower case), or undefined. */
  async find(name: string): Promise<readonly Address[] | undefined> {
    if (this.#names === undefined || this.#now() - this.#readAtMs > KEPT_MS) {
      this.#readAtMs = this.#now()
      this.#names = readFile(this.#path, 'utf8').then(
        (text) => (text.length > BYTES_MAX ? new Map() : parseHosts(text)),
        () => new Map(),
      )
    }
    return (await this.#names).get(name)
  }
}

/** Reads hosts(5): an address, then its names; `#` begins a comment. Lines that are not that are passed over. */
export function parseHosts(text: string): Map<string, Address[]> {
  const names = new Map<string, Address[]>()
  for (const line of text.split('\n')) {
    const [address, ...rest] = line.split('#', 1)[0]!.trim().split(/\s+/)
    const family = isIP(address ?? '')
    if (address === undefined || (family !== 4 && family !== 6)) continue
    for (const name of rest) {
      const key = name.toLowerCase()
      const known = names.get(key)
      if (known === undefined) names.set(key, [{ address, family }])
      else known.push({ address, family })
    }
  }
  return names
}
