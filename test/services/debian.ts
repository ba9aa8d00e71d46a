import { existsSync } from 'node:fs'
import { command, onPath } from './command.ts'

const INSTALL_WITHIN_MS = 5 * 60_000

let queue: Promise<unknown> = Promise.resolve()

/** Whether this process may install Debian packages: root, on a Debian. */
export function canInstallPackages(): boolean {
  return process.getuid?.() === 0 && existsSync('/etc/debian_version') && onPath('apt-get') !== undefined
}

/** Installs a Debian package without starting the service that it may bring. One at a time: dpkg allows no more. */
export function installPackage(name: string): Promise<void> {
  const installed = queue.then(() => install(name))
  queue = installed.catch(() => {})
  return installed
}

async function install(name: string): Promise<void> {
  const options = {
    withinMs: INSTALL_WITHIN_MS,
    // In run level 1 Debian's scripts start no service.
    env: { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  }
  const install = ['-o', 'DPkg::Lock::Timeout=120', 'install', '-y', '-q', '--no-install-recommends', name]
  try {
    await command('apt-get', install, options)
  } catch {
    // The package lists of a fresh image are empty or old.
    await command('apt-get', ['-o', 'DPkg::Lock::Timeout=120', 'update', '-q'], options)
    await command('apt-get', install, options)
  }
}
