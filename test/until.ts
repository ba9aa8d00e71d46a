import { setTimeout as sleep } from 'node:timers/promises'

/** Long, because machines are busy: a wait that succeeds takes no longer for it. */
const WITHIN_MS = 60_000

/**
 * Waits until something is so; rejects after a minute and names it. No bound of a test is shorter: what has to be fast is a
 * matter for native-bench.
 */
export async function until(so: () => boolean | Promise<boolean>, what = String(so)): Promise<void> {
  const endMs = performance.now() + WITHIN_MS
  while (!(await so())) {
    if (performance.now() > endMs) throw new Error(`not so within ${WITHIN_MS} ms: ${what}`)
    await sleep(5)
  }
}

/**
 * Resolves with the work when that needs no time: only turns of the event loop, of which it may have a hundred. Rejects when it
 * waits for a timer or for somebody else.
 */
export async function atOnce<T>(work: Promise<T>, what: string): Promise<T> {
  let over = false
  const late = async () => {
    for (let turn = 0; turn < 100 && !over; turn++) await new Promise(setImmediate)
    throw new Error(`not at once: ${what}`)
  }
  try {
    return await Promise.race([work, late()])
  } finally {
    over = true
  }
}
