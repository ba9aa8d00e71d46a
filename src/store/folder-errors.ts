import { MillraceError, messageOf, ServiceAwayError } from '../job/errors.ts'

/** The file system's code of an error, e.g. `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Null for "there is no such file"; throws every other error on. */
export function nullWhenAbsent(error: unknown): null {
  const code = codeOf(error)
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return null
  throw error
}

export function ignoreAbsent(error: unknown): void {
  nullWhenAbsent(error)
}

/**
 * Runs `work` and turns a file system's error into one of ours. What an operator has to mend (rights, a path that is taken) is a
 * MillraceError; what may pass by itself (a full disk, too many open files, a mount that is away) is a ServiceAwayError.
 */
export async function translated<T>(
  where: { folder: string; doing: string },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const code = codeOf(error)
    // Not from the file system: an abort, or an error of our own.
    if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) throw error
    const found = `store.folder=${where.folder}: could not ${where.doing} (${messageOf(error, 200)})`
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      const expected = 'expected a folder this user may write to'
      throw new MillraceError('STORE_READ_ONLY', `${found}; ${expected}.`, { cause: error })
    }
    if (code === 'ENOTDIR' || code === 'EISDIR' || code === 'EEXIST') {
      const expected = 'expected a free path: a file stands where a folder is needed, or the reverse'
      throw new MillraceError('STORE_PATH_TAKEN', `${found}; ${expected}.`, { cause: error })
    }
    throw new ServiceAwayError('store', `${found}; check the disk: space, limits, mount.`, { cause: error })
  }
}
