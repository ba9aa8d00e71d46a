import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { command } from '../services/command.ts'
import { unmountWithUs } from '../services/reaper.ts'
import type { Running } from '../services/running.ts'

/** What a store keeps its objects on, and how it runs out of room. */
export interface Disk {
  /** What stands for a full disk here. */
  readonly how: string
  fill(): Promise<void>
  free(): Promise<void>
}

const MIB = 1024 * 1024

/** A file system of its own, really filled: whoever writes gets ENOSPC. */
export class SmallDisk implements Disk {
  readonly how = 'a tmpfs, filled'
  readonly #ballast: string

  constructor(folder: string) {
    this.#ballast = join(folder, 'ballast')
  }

  async fill(): Promise<void> {
    const file = openSync(this.#ballast, 'w')
    try {
      for (const size of [MIB, 4096]) {
        const part = Buffer.alloc(size, 1)
        while (writes(file, part));
      }
    } finally {
      closeSync(file)
    }
  }

  async free(): Promise<void> {
    rmSync(this.#ballast, { force: true })
  }
}

function writes(file: number, part: Buffer): boolean {
  try {
    return writeSync(file, part) === part.length
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}

/** Where nothing may be mounted: the store's process may write no file any more (EFBIG), by RLIMIT_FSIZE. */
export class ProcessLimit implements Disk {
  readonly how = 'RLIMIT_FSIZE of the store’s process'
  readonly #store: Running

  constructor(store: Running) {
    this.#store = store
  }

  async fill(): Promise<void> {
    await this.#limit('0')
  }

  async free(): Promise<void> {
    await this.#limit('unlimited')
  }

  async #limit(bytes: string): Promise<void> {
    const { pid } = this.#store
    if (pid === undefined)
      throw new Error('the store is no process of this machine: its disk cannot be filled')
    await command('prlimit', [`--pid=${pid}`, `--fsize=${bytes}:unlimited`], { withinMs: 60_000 })
  }
}

/** A small file system in memory at `folder`, which is made, where one may be mounted; null elsewhere. `size` as mount takes it: `8m`. */
export function mountSmallDisk(folder: string, size: string): { folder: string; unmount: () => void } | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return null
  mkdirSync(folder)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder])
  if (mounted.status !== 0) return null
  const gone = unmountWithUs(folder)
  return {
    folder,
    unmount() {
      const unmounted = spawnSync('umount', [folder], { encoding: 'utf8' })
      if (unmounted.status !== 0) throw new Error(`umount ${folder}: ${unmounted.stderr}`)
      gone()
    },
  }
}
