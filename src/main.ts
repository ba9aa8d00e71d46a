#!/usr/bin/env node
import { enableCompileCache } from 'node:module'
import { poolSize } from './images/pool-size.ts'

// libuv reads this when its thread pool is first used, which loading the rest may do.
process.env.UV_THREADPOOL_SIZE ??= String(poolSize().uvThreads)

// Halves the time to start: what was compiled once is kept in Node's own cache.
enableCompileCache()

const { program } = await import('./cli/program.ts')
const { failure } = await import('./cli/exit.ts')

/** Aborted by the first SIGTERM or SIGINT: stop in good order. The second one ends the process at once. */
const stopping = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) process.exit(128 + (signal === 'SIGTERM' ? 15 : 2))
    stopping.abort(signal)
  })
}

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
  })
} catch (error) {
  const { text, code } = failure(error)
  // Explicitly: what was being tried when it failed (a client that reconnects, say) would keep the process for seconds.
  process.stderr.write(`${text}\n`, () => process.exit(code))
}
