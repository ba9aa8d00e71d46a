import type { TestContext } from 'node:test'
import { ServiceMissing } from './found.ts'
import type { Running } from './running.ts'

/**
 * A service that one test has for itself, to kill and restart; stopped after the test. Its clients are better ended by
 * `beforeStop` than by `t.after`, whose hooks run in the order of their registration: after the service is gone. Where the service cannot be had the
 * test is skipped (null), or fails with MILLRACE_REQUIRE_SERVICES=1, as with `need`.
 */
export async function own(t: TestContext, start: () => Promise<Running>): Promise<Running | null> {
  try {
    const running = await start()
    t.after(() => running.stop())
    return running
  } catch (error) {
    if (!(error instanceof ServiceMissing) || process.env.MILLRACE_REQUIRE_SERVICES === '1') throw error
    t.skip(error.message)
    return null
  }
}
