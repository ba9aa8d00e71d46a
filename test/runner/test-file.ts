import { run } from 'node:test'
import type { TestEvent } from 'node:test/reporters'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileOf, Results } from './results.ts'

/** A test that takes longer says so itself, with its own `timeout`. */
const TEST_TIMEOUT_MS = 180_000
const FILE_TIMEOUT_MS = 10 * 60_000
/** Tests have ended and the process lives on: time enough for hooks that stop services. */
const IDLE_MS_MAX = 30_000
/** How long an ended process may take to die before the run goes on without it; it is found and killed at the end. */
const DIE_WITHIN_MS = 3_000

export interface TestFileOptions {
  readonly signal: AbortSignal
  readonly namePattern: string | undefined
  readonly onEvent: (event: TestEvent) => void
}

/**
 * Runs one test file in a process of its own, and hands on its events. Node's `run` does not end a file that hangs: here it
 * is ended (a failed test of its own) when it takes too long in all, or when none of its tests is running and it does not end.
 */
export async function runTestFile(file: string, options: TestFileOptions): Promise<void> {
  const hang = new AbortController()
  const signal = AbortSignal.any([options.signal, hang.signal])
  const total = setTimeout(
    () => hang.abort(new Error(`the file is not done within ${FILE_TIMEOUT_MS} ms`)),
    FILE_TIMEOUT_MS,
  )
  let idle: NodeJS.Timeout | undefined
  const events = run({
    files: [file],
    signal,
    execArgv: [`--test-timeout=${TEST_TIMEOUT_MS}`],
    ...(options.namePattern === undefined ? {} : { testNamePatterns: [new RegExp(options.namePattern)] }),
  })
  const seen = new Results()
  const ended = (async () => {
    for await (const event of events as AsyncIterable<TestEvent>) {
      clearTimeout(idle)
      // Without a file it is a total, which node counts for this file alone; the run's stand at its end.
      if (event.data === undefined || fileOf(event.data) === undefined) continue
      seen.take(event)
      if (seen.begun && seen.running.length === 0)
        idle = setTimeout(() => hang.abort(idleError()), IDLE_MS_MAX)
      options.onEvent(event)
    }
  })()
  const givenUp = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => void sleep(DIE_WITHIN_MS).then(resolve), { once: true })
  })
  await Promise.race([ended, givenUp])
  clearTimeout(idle)
  clearTimeout(total)
}

function idleError(): Error {
  return new Error(
    `all tests had ended, and the process lived on for ${IDLE_MS_MAX} ms: something was not closed (a server, a client, a timer)`,
  )
}
