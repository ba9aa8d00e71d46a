import { z } from 'zod'
import type { App } from '../context.ts'
import type { ApiReadiness } from '../readiness.ts'

/** Whether the API can do its work, and if not, why. */
export interface Health {
  check(): Promise<ApiReadiness>
}

const reply = z.object({ ready: z.boolean(), reasons: z.array(z.string()) }).meta({ id: 'Readiness' })

/** `/healthz`: the process answers. `/readyz`: so does what it needs. Open to all, and not counted. */
export function healthRoutes(app: App, health: Health): void {
  app.get(
    '/healthz',
    {
      schema: {
        operationId: 'health',
        summary: 'Whether the process answers',
        response: { 200: z.object({ alive: z.literal(true) }) },
      },
    },
    async (_request, to) => to.header('cache-control', 'no-store').send({ alive: true as const }),
  )
  app.get(
    '/readyz',
    {
      schema: {
        operationId: 'readiness',
        summary: 'Whether what it needs answers too',
        response: { 200: reply, 503: reply },
      },
    },
    async (_request, to) => {
      const { ready, reasons } = await health.check()
      return to
        .code(ready ? 200 : 503)
        .header('cache-control', 'no-store')
        .send({ ready, reasons: [...reasons] })
    },
  )
}
