import { randomBytes } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { link, mkdir, readdir, readFile, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import type { ObjectInfo, ObjectMeta, ObjectStore } from '../job/store.ts'
import { codeOf, ignoreAbsent, nullWhenAbsent, translated } from './folder-errors.ts'
import { checkKey, checkMeta, type ObjectHead } from './key.ts'

export interface FolderStoreOptions {
  /** Created when it is not there. */
  readonly folder: string
  /**
   * Flush each object to the disk before it gets its name. Default false: the death of the process costs nothing, a power failure
   * may cost the last seconds' objects, which are then found to be damaged and written again. Flushing halves the
   * puts a second.
   */
  readonly flush?: boolean
}

/** Temporary files older than this were left by a process that died; younger ones may be a neighbour's. */
const LEFTOVER_AGE_MS = 60 * 60 * 1000

/** Ours, beside the objects: `checkKey` refuses keys that start with a dot, so none can collide. */
const OWN_FOLDER = '.millrace'

const noteSchema = z.object({
  bytes: z.int().min(0),
  contentType: z.string(),
  cacheControl: z.string(),
  metadata: z.record(z.string(), z.string()),
})

/** What is noted beside an object: its meta, and how long it is. */
type Note = z.infer<typeof noteSchema>

/**
 * Objects as plain files below a folder: `<folder>/<key>`; what else is known of an object (ObjectMeta) is beside it, in
 * `.<name>.meta`. Several processes may use the folder at once.
 *
 * An object is written under a temporary name and then linked to its key: `link` fails when the name exists, so of any
 * number of racing writers exactly one writes, and nobody ever sees half an object. The one who has written it notes its meta;
 * a writer who died before that is made up for by the next one who finds the object present. An object that is not as long as
 * its note says was damaged by a power failure: it counts as absent and the next put replaces it.
 */
export class FolderStore implements ObjectStore {
  readonly #root: string
  readonly #flush: boolean

  constructor(options: FolderStoreOptions) {
    this.#root = resolve(options.folder)
    this.#flush = options.flush ?? false
  }

  async put(
    key: string,
    body: Uint8Array,
    meta: ObjectMeta,
    signal?: AbortSignal,
  ): Promise<'written' | 'present'> {
    checkKey(key)
    checkMeta(meta)
    signal?.throwIfAborted()
    const path = this.#pathOf(key)
    return this.#translated(`write ${key}`, async () => {
      const temporary = await this.#writeTemporary(body)
      try {
        signal?.throwIfAborted()
        await mkdir(dirname(path), { recursive: true })
        try {
          await inFolder(path, () => link(temporary, path))
        } catch (error) {
          if (codeOf(error) !== 'EEXIST' || !(await isFile(path))) throw error
          if (!(await this.#isDamaged(key, body.byteLength))) {
            await this.#noteIfAbsent(key, meta)
            return 'present'
          }
          await rename(temporary, path)
        }
        await this.#writeNote(key, { bytes: body.byteLength, ...meta })
        return 'written'
      } finally {
        await unlink(temporary).catch(ignoreAbsent)
      }
    })
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectHead | null> {
    checkKey(key)
    signal?.throwIfAborted()
    return this.#translated(`look up ${key}`, async () => {
      const found = await stat(this.#pathOf(key)).catch(nullWhenAbsent)
      if (found === null || !found.isFile()) return null
      const note = await this.#readNote(key)
      if (note !== undefined && note.bytes !== found.size) return null
      return {
        key,
        bytes: found.size,
        modifiedAtMs: Math.floor(found.mtimeMs),
        contentType: note?.contentType ?? 'application/octet-stream',
        metadata: note?.metadata ?? {},
      }
    })
  }

  async get(key: string, signal?: AbortSignal): Promise<Buffer | null> {
    checkKey(key)
    return this.#translated(`read ${key}`, () =>
      readFile(this.#pathOf(key), signal === undefined ? {} : { signal }).catch((error: unknown) => {
        signal?.throwIfAborted()
        return nullWhenAbsent(error)
      }),
    )
  }

  /** A folder has no addresses of its own: always null. */
  async presign(): Promise<null> {
    return null
  }

  /** In the order of the keys' bytes, as S3 lists them. */
  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
    yield* this.#walk('', prefix, signal)
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key)
    signal?.throwIfAborted()
    await this.#translated(`delete ${key}`, async () => {
      await unlink(this.#pathOf(key)).catch(ignoreAbsent)
      await unlink(this.#notePathOf(key)).catch(ignoreAbsent)
      await this.#removeEmptyParents(this.#pathOf(key))
    })
  }

  /** Creates the folder, writes and removes a file in it, and clears what dead writers left behind. */
  async check(): Promise<void> {
    await this.#translated('write a test file', async () => {
      await unlink(await this.#writeTemporary(Buffer.from('millrace')))
      for (const name of await readdir(this.#temporaryFolder())) {
        const path = join(this.#temporaryFolder(), name)
        const found = await stat(path).catch(nullWhenAbsent)
        if (found !== null && Date.now() - found.mtimeMs > LEFTOVER_AGE_MS)
          await unlink(path).catch(ignoreAbsent)
      }
    })
  }

  async stop(): Promise<void> {}

  #pathOf(key: string): string {
    return join(this.#root, key)
  }

  #notePathOf(key: string): string {
    return join(this.#root, dirname(key), `.${basename(key)}.meta`)
  }

  #temporaryFolder(): string {
    return join(this.#root, OWN_FOLDER, 'temporary')
  }

  async #writeTemporary(body: Uint8Array): Promise<string> {
    const path = join(this.#temporaryFolder(), randomBytes(12).toString('hex'))
    try {
      await inFolder(path, () => writeFile(path, body, { flag: 'wx', flush: this.#flush }))
    } catch (error) {
      await unlink(path).catch(ignoreAbsent)
      throw error
    }
    return path
  }

  async #readNote(key: string): Promise<Note | undefined> {
    const text = await readFile(this.#notePathOf(key), 'utf8').catch(nullWhenAbsent)
    if (text === null) return undefined
    try {
      return noteSchema.parse(JSON.parse(text))
    } catch {
      // Cut short by a power failure, or just being written.
      return undefined
    }
  }

  /** A linked object was complete once. Without a note only an empty file is known to be wrong, where it should not be empty. */
  async #isDamaged(key: string, bytesExpected: number): Promise<boolean> {
    const [found, note] = await Promise.all([
      stat(this.#pathOf(key)).catch(nullWhenAbsent),
      this.#readNote(key),
    ])
    if (found === null) return false
    return note === undefined ? found.size === 0 && bytesExpected > 0 : note.bytes !== found.size
  }

  /** For an object whose writer died before it noted anything. Under one key there is one thing, so our meta is its meta. */
  async #noteIfAbsent(key: string, meta: ObjectMeta): Promise<void> {
    const found = await stat(this.#pathOf(key)).catch(nullWhenAbsent)
    if (found === null || (await this.#readNote(key)) !== undefined) return
    await this.#writeNote(key, { bytes: found.size, ...meta })
  }

  async #writeNote(key: string, note: Note): Promise<void> {
    const path = this.#notePathOf(key)
    await inFolder(path, () => writeFile(path, JSON.stringify(note)))
  }

  async *#walk(folder: string, prefix: string, signal: AbortSignal | undefined): AsyncGenerator<ObjectInfo> {
    signal?.throwIfAborted()
    const entries = await this.#translated(`list ${folder}`, () =>
      readdir(join(this.#root, folder), { withFileTypes: true }).catch(nullWhenAbsent),
    )
    for (const entry of (entries ?? []).sort(byKeyOrder)) {
      // Ours: notes, temporary files.
      if (entry.name.startsWith('.')) continue
      const key = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) {
        const below = `${key}/`
        if (below.startsWith(prefix) || prefix.startsWith(below)) yield* this.#walk(key, prefix, signal)
      } else if (entry.isFile() && key.startsWith(prefix)) {
        const found = await this.#translated(`look up ${key}`, () =>
          stat(this.#pathOf(key)).catch(nullWhenAbsent),
        )
        if (found !== null) yield { key, bytes: found.size, modifiedAtMs: Math.floor(found.mtimeMs) }
      }
    }
  }

  /** Best effort: a folder that a writer is just filling is not empty, and stays. */
  async #removeEmptyParents(path: string): Promise<void> {
    for (
      let folder = dirname(path);
      folder.startsWith(this.#root) && folder !== this.#root;
      folder = dirname(folder)
    ) {
      try {
        await rmdir(folder)
      } catch {
        return
      }
    }
  }

  #translated<T>(doing: string, work: () => Promise<T>): Promise<T> {
    return translated({ folder: this.#root, doing }, work)
  }
}

/** Does `work` on a path, and once more with its folder created when that was what was missing. */
async function inFolder<T>(path: string, work: () => Promise<T>): Promise<T> {
  // A few times: somebody who deletes may remove the empty folder between our two steps.
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || attempt === 4) throw error
      await mkdir(dirname(path), { recursive: true })
    }
  }
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(nullWhenAbsent)
  return found?.isFile() ?? false
}

/** As if every folder's name ended in "/": then walking in order yields keys in order. */
function byKeyOrder(a: Dirent, b: Dirent): number {
  const [left, right] = [a, b].map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)) as [
    string,
    string,
  ]
  return left < right ? -1 : left > right ? 1 : 0
}
