import type { Terminal } from './terminal.ts'

/** Writes a line to standard output, and waits while its reader is slower than we are. */
export async function say({ stdout }: Terminal, line: string): Promise<void> {
  if (stdout.write(`${line}\n`) || stdout.destroyed) return
  await new Promise<void>((resolve) => {
    const go = () => {
      for (const event of EVENTS) stdout.off(event, go)
      resolve()
    }
    for (const event of EVENTS) stdout.once(event, go)
  })
}

/** After `error` and `close` nobody reads any more, and what we do goes on without. */
const EVENTS = ['drain', 'error', 'close'] as const

/** For commands whose output goes through a pipe: a reader that has seen enough is no failure. */
export function mayBeCutOff({ stdout }: Terminal): void {
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}
