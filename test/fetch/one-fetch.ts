/** A process that fetches once, stops its engine, and has to end by itself. Started by stopping.test.ts. */
import { FetchEngine } from '../../src/fetch/engine.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { get, never, PATIENT, permit } from './local.ts'

const origin = process.argv[2] ?? ''
const engine = new FetchEngine(
  { platformOrigins: [{ origin, platform: 'here', private: true }], ...PATIENT },
  { metrics: createMetrics(), log: createLog({ level: 'silent', pretty: false, secrets: [] }) },
)
await engine.fetch(get(origin), permit(), { signal: never })
await engine.stop()
// The parent's channel is the only thing that is left.
process.disconnect?.()
