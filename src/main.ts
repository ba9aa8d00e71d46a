#!/usr/bin/env node
import { enableCompileCache } from 'node:module'
import { poolSize } from './images/pool-size.ts'

// libuv reads this when its thread pool is first used, which loading the rest may do.
process.env.UV_THREADPOOL_SIZE ??= String(poolSize().uvThreads)

// Halves the time to start: what was compiled once is kept in Node's own cache.
enableCompileCache()

const { program } = await import('./cli/program.ts')
const { failure } = await import('./cli/exit.ts')
const { Secrets } = await import('./telemetry/secrets.ts')

const secrets = new Secrets()

/** Whatever ends the process, and from wherever it was thrown, its last words hold no secret. */
let failing = false
function fail(error: unknown): void {
  const { text, code } = failure(error)
  if (failing) process.exit(code)
  failing = true
  // Explicitly: what was being tried when it failed (a client that reconnects, say) would keep the process for seconds.
  process.stderr.write(`${secrets.redact(text)}\n`, () => process.exit(code))
}
process.on('uncaughtException', fail)

/** Aborted by the first SIGTERM or SIGINT: stop in good order. The second one ends the process at once. */
const stopping = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) process.exit(128 + (signal === 'SIGTERM' ? 15 : 2))
    stopping.abort(signal)
  })
}

/** What is flushed at the end, a log line to a slow pipe say, has this long. */
const EXIT_WITHIN_MS = 1_000

try {
  process.exitCode = await program(process.argv.slice(2), {
    env: process.env,
    // Only when it is asked for: merely looking opens it.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    stopping: stopping.signal,
    secrets,
  })
  // Everything is closed by now. A library may still hold a socket of a server that died on it (kafkajs loses track of some),
  // which would keep the process until that server closes it, and have a supervisor kill what has ended in good order.
  setTimeout(() => process.exit(), EXIT_WITHIN_MS).unref()
} catch (error) {
  fail(error)
}
