import { StackedLimiter } from '../../src/limiter/stacked-limiter.ts'
import { PermitDesk } from '../../src/pipeline/permit-desk.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import type { Contestant } from './gate.ts'
import { LIMITS, PLATFORM } from './limits.ts'

/** As many as the daemon opens to one origin unless told otherwise. */
const SOCKETS = 512
const DAY_MS = 86_400_000

/** The permit desk over the stacked limiter, put together as the daemon does it; the platform has not been called before. */
export const ours: Contestant = {
  name: 'stacked limiter',
  async open(redis) {
    const metrics = createMetrics()
    const log = createLog({ level: 'warn', pretty: false, secrets: [] })
    const limiter = new StackedLimiter({ plan: LIMITS, redis, coldStart: 'full', metrics, log })
    let busy = 0
    const desk = new PermitDesk(limiter, metrics, log, {
      useWithinMs: LIMITS.arrivalJitterMs / 2,
      grantTimeoutMs: LIMITS.grantTimeoutMs,
      room: () => SOCKETS - busy,
    })
    await limiter.start()
    desk.start()
    return {
      async acquire(endpoint, signal) {
        const sinceMs = Date.now()
        for (;;) {
          const permit = await desk.acquire({
            platform: PLATFORM,
            endpoint,
            cost: 1,
            priority: 5,
            sinceMs,
            expiresAtMs: sinceMs + DAY_MS,
            signal,
            begun: false,
            isInTheWay: () => false,
          })
          desk.sent(permit)
          if (permit.spend(performance.now())) {
            busy++
            return {
              replied() {
                busy--
                desk.arrived(permit)
                desk.roomMade(PLATFORM)
              },
            }
          }
          // Too late to be used, as in the fetch engine: nothing is sent, and the limiter may forget it.
          desk.arrived(permit)
        }
      },
      async stop() {
        await desk.stop()
        await limiter.stop()
      },
    }
  },
}
