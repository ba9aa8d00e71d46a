/**
 * Completes package-lock.json with the packages of other platforms. A registry that does not carry them (a mirror that only
 * holds what its own machines use) makes npm leave them out of the lock, and `npm ci` then refuses it everywhere. What is
 * added is what a lock made against the full registry says, without the checksum: version, platform, optional. Run it after
 * every change of dependencies; on a complete lock it does nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs'

interface Entry {
  version?: string
  dev?: boolean
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  optionalDependencies?: Record<string, string>
}

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> }
const OSES = ['android', 'darwin', 'freebsd', 'linux', 'openbsd', 'win32', 'wasm32']
const CPUS = ['arm64', 'x64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'universal']

let added = 0
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key] !== undefined || lock.packages[`${path}/${key}`] !== undefined) continue
    const parts = name.split('/').at(-1)?.split(/[-.]/) ?? []
    const os = OSES.find((one) => parts.includes(one))
    const cpu = CPUS.find((one) => parts.includes(one))
    // Not a package of one platform: leaving it out is npm's own decision.
    if (os === undefined && cpu === undefined) continue
    lock.packages[key] = {
      version: version.replace(/^[\^~]/, ''),
      ...(cpu === undefined || cpu === 'universal' ? {} : { cpu: [cpu] }),
      ...(entry.dev === true ? { dev: true } : {}),
      ...(os === undefined || os === 'wasm32' ? {} : { os: [os] }),
      ...(parts.includes('musl')
        ? { libc: ['musl'] }
        : os === 'linux' && parts.includes('gnu')
          ? { libc: ['glibc'] }
          : {}),
      optional: true,
    }
    added++
  }
}
const sorted = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
writeFileSync(file, `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`)
process.stdout.write(`${added} added\n`)
