import { createRequire } from 'node:module'

interface RequestQueue {
  pending: unknown[]
  scheduleCheckPendingRequests(): void
}

/** As the method stands in kafkajs 2.2.4; another text means another version, which we leave alone. */
const KNOWN_FAULT = 'let scheduleAt = this.throttledUntil - Date.now()'

let repaired = false

/**
 * Repairs kafkajs #1751 in place, once per process. Its request queue arms a timer after every response even when nothing
 * is pending, with a delay of `-1 - Date.now()`. Node turns that into 1 ms, so every connection wakes the loop a thousand
 * times a second for ever, and Node 24 prints TimeoutNegativeWarning. With nothing pending there is nothing to check:
 * a later push arms the timer itself. (Silencing the warning would leave the spinning timers.)
 */
export function repairRequestQueue(): void {
  if (repaired) return
  repaired = true
  const load = createRequire(import.meta.url)
  let prototype: RequestQueue
  try {
    prototype = (load('kafkajs/src/network/requestQueue/index.js') as { prototype: RequestQueue }).prototype
  } catch {
    return
  }
  const original = prototype.scheduleCheckPendingRequests
  if (!original.toString().includes(KNOWN_FAULT)) return
  prototype.scheduleCheckPendingRequests = function scheduleCheckPendingRequests(this: RequestQueue) {
    if (this.pending.length > 0) original.call(this)
  }
}
