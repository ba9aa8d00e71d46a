import { open } from 'node:fs/promises'

/** Appends to a file until its disk has no room, or less than `leaveBytes`, as `free` tells. */
export async function fillUp(path: string, leaveBytes = 0, free?: () => Promise<number>): Promise<void> {
  const file = await open(path, 'a')
  try {
    for (let size = 4 << 20; size >= 4_096; size >>= 1) {
      const block = Buffer.alloc(size)
      try {
        while (free === undefined || (await free()) > leaveBytes + size) await file.write(block)
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      }
    }
  } finally {
    await file.close()
  }
}
