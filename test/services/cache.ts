import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { removeWithUs } from './reaper.ts'

/** Where things are kept that took long to fetch or build: `$XDG_CACHE_HOME/millrace`, or `~/.cache/millrace`. */
export function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME
  return join(base?.startsWith('/') ? base : join(homedir(), '.cache'), 'millrace')
}

const underWay = new Map<string, Promise<{ folder: string; fetched: boolean }>>()

/**
 * A folder of the cache, made by `make` when it is not there. `make` fills a folder of a temporary name, which is renamed
 * when it is complete: half a download is never taken for a whole one, and of two processes that make the same thing at
 * once one is first and the other one throws its own away.
 */
export function cached(
  name: string,
  make: (folder: string) => Promise<void>,
): Promise<{ folder: string; fetched: boolean }> {
  const running = underWay.get(name)
  if (running !== undefined) return running
  const made = makeOnce(name, make).finally(() => underWay.delete(name))
  underWay.set(name, made)
  return made
}

async function makeOnce(
  name: string,
  make: (folder: string) => Promise<void>,
): Promise<{ folder: string; fetched: boolean }> {
  const folder = join(cacheFolder(), name)
  if (existsSync(folder)) return { folder, fetched: false }
  await mkdir(cacheFolder(), { recursive: true })
  const unfinished = await mkdtemp(join(cacheFolder(), `.${name}-`))
  const gone = removeWithUs(unfinished)
  try {
    await make(unfinished)
    try {
      await rename(unfinished, folder)
    } catch (error) {
      if (!existsSync(folder)) throw error
    }
  } finally {
    await rm(unfinished, { recursive: true, force: true, maxRetries: 10 })
    gone()
  }
  return { folder, fetched: true }
}
