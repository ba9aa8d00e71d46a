import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { link, mkdir, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname, join, parse } from 'node:path'
import { messageOf } from '../job/errors.ts'

/**
 * Files that a command writes beside the user's own: whole or not at all, never over one of the sources, and over what else is
 * there only when asked to.
 */
export class Targets {
  readonly #folder: string
  readonly #overwrite: boolean
  /** Device and inode: a source keeps them under whatever name it is reached. */
  readonly #sources: ReadonlySet<string>

  constructor(folder: string, overwrite: boolean, sources: readonly string[]) {
    this.#folder = folder
    this.#overwrite = overwrite
    this.#sources = new Set(
      sources.flatMap((path) => {
        const found = statSync(path, { throwIfNoEntry: false })
        return found === undefined ? [] : [`${found.dev}:${found.ino}`]
      }),
    )
  }

  pathOf(name: string): string {
    return join(this.#folder, name)
  }

  /** Null when it is written, else why it is not. */
  async write(name: string, bytes: Uint8Array): Promise<string | null> {
    const path = this.pathOf(name)
    const temporary = join(dirname(path), `.${randomBytes(8).toString('hex')}.part`)
    try {
      const found = await stat(path).catch(() => null)
      if (found !== null && this.#sources.has(`${found.dev}:${found.ino}`))
        return `${path} is one of the sources`
      if (found !== null && !this.#overwrite) return there(path)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(temporary, bytes, { flag: 'wx' })
      // A link does not take the place of what somebody has put there meanwhile; a rename does.
      if (this.#overwrite) await rename(temporary, path)
      else await link(temporary, path)
      return null
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return there(path)
      return `${path} could not be written: ${messageOf(error, 200)}`
    } finally {
      await unlink(temporary).catch(() => {})
    }
  }
}

function there(path: string): string {
  return `${path} is there already; --overwrite replaces it`
}

/** A name for each path, without its extension: `a/x.jpg` and `b/x.png` are `x` and `x-2`, also where case does not count. */
export function stemsOf(paths: readonly string[]): string[] {
  const taken = new Set<string>()
  return paths.map((path) => {
    const wanted = path === '-' ? 'stdin' : parse(path).name
    let stem = wanted
    for (let number = 2; taken.has(stem.toLowerCase()); number++) stem = `${wanted}-${number}`
    taken.add(stem.toLowerCase())
    return stem
  })
}
