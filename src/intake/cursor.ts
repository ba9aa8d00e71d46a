import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { MillraceError, messageOf } from '../job/errors.ts'

/** How far one file has been done. */
export interface CursorEntry {
  readonly topic: string
  readonly partition: number
  /** Inode and a digest of the first bytes: together they tell whether it is the file that we knew. */
  readonly inode: number
  readonly headBytes: number
  readonly headSha256: string
  /** As they were when the file was opened. */
  readonly size: number
  readonly mtimeMs: number
  /** The time of its records, Unix ms: when the file was begun. A run that goes on has the same; one that begins again is another. */
  readonly timestampMs: number
  /** Byte position up to which everything is finished. */
  readonly position: number
  /** What is finished beyond it, see beyond.ts. */
  readonly beyond?: string
  /** Everything up to the end of the file is finished. */
  readonly isDone: boolean
}

const HEAD_BYTES = 4096

/** The cursors of all files of a source, in one JSON file that is replaced as a whole: a crash leaves the old or the new one. */
export class CursorFile {
  readonly #path: string
  #entries: Record<string, CursorEntry> = Object.create(null)

  constructor(path: string) {
    this.#path = path
  }

  /** A missing file is an empty one. A file that is no cursor file is refused, with a MillraceError of kind `usage`. */
  async load(): Promise<void> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    try {
      const json = JSON.parse(text) as { version?: unknown; files?: Record<string, CursorEntry> }
      if (json.version !== 1 || typeof json.files !== 'object') throw new Error('not version 1')
      Object.assign(this.#entries, json.files)
    } catch (error) {
      throw new MillraceError(
        'CURSOR',
        `${this.#path} is no cursor file (${messageOf(error, 100)}): move it away to begin from the start`,
        { kind: 'usage', cause: error },
      )
    }
  }

  get(path: string): CursorEntry | undefined {
    return this.#entries[path]
  }

  set(path: string, entry: CursorEntry): void {
    this.#entries[path] = entry
  }

  delete(path: string): void {
    delete this.#entries[path]
  }

  /** Resolves when the entries are on the disk. */
  async save(): Promise<void> {
    const draft = `${this.#path}.new`
    const file = await open(draft, 'w')
    try {
      await file.writeFile(`${JSON.stringify({ version: 1, files: this.#entries }, null, 2)}\n`)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(draft, this.#path)
  }
}

/** Whether an input goes on at its cursor, is begun again because it was done, or is begun as a file we do not know. */
export type Continuation = 'goes on' | 'was done' | 'is new'

/**
 * What to do with a file that a cursor speaks of. Another inode, other first bytes, or less content than was done is another
 * file. So is one that was changed without growing: somebody wrote a new list over the old one.
 */
export async function continuation(
  file: FileHandle,
  entry: CursorEntry | undefined,
  kind: 'finite' | 'growing',
): Promise<Continuation> {
  if (entry === undefined) return 'is new'
  const { ino, size, mtimeMs } = await file.stat()
  if (ino !== entry.inode || size < entry.position) return 'is new'
  if ((await headOf(file, entry.headBytes)) !== entry.headSha256) return 'is new'
  if (!(await isLineStart(file, entry.position, size))) return 'is new'
  if (kind === 'growing') return 'goes on'
  if (size > entry.size) return 'goes on'
  if (mtimeMs !== entry.mtimeMs) return 'is new'
  return entry.isDone ? 'was done' : 'goes on'
}

/** The entry further on. A file that was short when it was begun has more to be known by now. */
export async function advanced(
  file: FileHandle | undefined,
  entry: CursorEntry,
  place: { readonly position: number; readonly beyond: string; readonly isDone: boolean },
): Promise<CursorEntry> {
  const headBytes = Math.min(place.position, HEAD_BYTES)
  if (file === undefined || headBytes <= entry.headBytes) return { ...entry, ...place }
  return { ...entry, ...place, headBytes, headSha256: await headOf(file, headBytes) }
}

/** An entry for a file that is begun at its start. */
export async function freshEntry(
  file: FileHandle,
  place: { readonly path: string; readonly topic: string; readonly partition: number | undefined },
): Promise<CursorEntry> {
  const { ino, size, mtimeMs } = await file.stat()
  const headBytes = Math.min(size, HEAD_BYTES)
  const timestampMs = Date.now()
  return {
    topic: place.topic,
    partition: place.partition ?? partitionOf(`${place.path} ${ino} ${timestampMs}`),
    inode: ino,
    headBytes,
    headSha256: await headOf(file, headBytes),
    size,
    mtimeMs,
    timestampMs,
    position: 0,
    isDone: false,
  }
}

/**
 * A partition number for an input: job ids derive from topic, partition and offset, so two inputs of one topic must not
 * share it. 24 bits of a digest, never 0, which is the partition of the topic's own file.
 */
export function partitionOf(identity: string): number {
  return (createHash('sha256').update(identity).digest().readUIntBE(0, 3) % 0xffffff) + 1
}

async function headOf(file: FileHandle, bytes: number): Promise<string> {
  const head = Buffer.alloc(bytes)
  const { bytesRead } = await file.read(head, 0, bytes, 0)
  return createHash('sha256').update(head.subarray(0, bytesRead)).digest('hex')
}

/** A position inside a line belongs to other content; at the very end the last line may lack its line feed. */
async function isLineStart(file: FileHandle, position: number, size: number): Promise<boolean> {
  if (position === 0 || position === size) return true
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, position - 1)
  return byte[0] === 0x0a
}
