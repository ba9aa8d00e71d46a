import { type FileHandle, open } from 'node:fs/promises'

/** The file, to be read, or undefined when there is none. */
export async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Its bytes; 0 when there is none. */
export async function sizeOf(path: string): Promise<number> {
  const file = await openIfThere(path)
  if (file === undefined) return 0
  try {
    return (await file.stat()).size
  } finally {
    await file.close()
  }
}
