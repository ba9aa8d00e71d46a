import type { TestContext } from 'node:test'
import { type AdminOptions, type AdminPorts, AdminServer } from '../../src/admin/server.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { sourceOf } from './source.ts'

export const log = createLog({ level: 'silent', pretty: false, secrets: [] })

/** An admin server on a free port of loopback, stopped at the end of the test. Returns its URL. */
export async function startAdmin(
  t: TestContext,
  ports: Partial<AdminPorts> = {},
  options: Partial<AdminOptions> = {},
): Promise<string> {
  const server = new AdminServer(
    // Longer than a machine stands still.
    { host: '127.0.0.1', port: 0, answerMsMax: 60_000, ...options },
    { source: sourceOf(), metrics: createMetrics(), log, ...ports },
  )
  t.after(() => server.stop())
  return (await server.start()).url
}
