export interface ScheduleOptions {
  /** Test files at a time. */
  readonly concurrency: number
  /** Whether what the file needs is settled, one way or the other. */
  readonly isReady: (file: string) => boolean
  /** Resolves when `isReady` is true for every file. */
  readonly allReady: Promise<unknown>
  /** Whether the file runs at the end, with no other beside it. */
  readonly isAlone: (file: string) => boolean
  readonly runFile: (file: string) => Promise<void>
  readonly signal: AbortSignal
}

/**
 * Runs all files, each as soon as there is a place and its services are settled: a long build holds up only the files that
 * wait for it. Then those that run alone. Ends early when the signal aborts, after the files that are running.
 */
export async function schedule(files: readonly string[], options: ScheduleOptions): Promise<void> {
  const { concurrency, isReady, allReady, isAlone, runFile, signal } = options
  const waiting = files.filter((file) => !isAlone(file))
  const work = async () => {
    while (waiting.length > 0 && !signal.aborted) {
      const index = waiting.findIndex(isReady)
      if (index === -1) await Promise.race([allReady, aborted(signal)])
      else await runFile(waiting.splice(index, 1)[0]!)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  const last = files.filter(isAlone)
  if (last.length > 0) await Promise.race([allReady, aborted(signal)])
  for (const file of last) if (!signal.aborted) await runFile(file)
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
