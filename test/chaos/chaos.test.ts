import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServiceMissing } from '../services/found.ts'
import { runChaos } from './chaos.ts'
import { reportOf } from './report.ts'

/** Eight of the thirteen kinds of fault; `npm run chaos` does them all, twice. */
const SEED = 2

test('jobs are worked off once, and nothing is lost, while daemons and services are killed, frozen and filled up', {
  timeout: 500_000,
}, async (t) => {
  try {
    const summary = await runChaos({
      seed: SEED,
      jobs: 1_700,
      faults: 8,
      daemons: 2,
      rate: 28,
      sessionMs: 3_000,
      calmMs: 2_000,
      signal: t.signal,
      say: (line) => t.diagnostic(line),
    })
    for (const line of reportOf(summary).split('\n')) t.diagnostic(line)
    assert.deepEqual(summary.books.problems, [])
  } catch (error) {
    if (!(error instanceof ServiceMissing) || process.env.MILLRACE_REQUIRE_SERVICES === '1') throw error
    t.skip(error.message)
  }
})
